"""The named corpora: facts only. What each is, under which licence, where it lies, and the checksums that were seen.

A checksum is written here only when the very bytes were looked at; a file without one is hashed at its first download
and held to that afterwards (the cache's lock file). A file without an address was put together from its source by
hand and can be taken from a folder (``--mirror DIR``), or is written by Vidro itself (`made`). Not here: fetching
(`corpora`).
"""

from __future__ import annotations

from dataclasses import dataclass

_GITHUB = "https://raw.githubusercontent.com"
_TINYSTORIES = "https://huggingface.co/datasets/roneneldan/TinyStories/resolve/main"
_WIKITEXT = f"{_GITHUB}/pytorch/examples/main/word_language_model/data/wikitext-2"


@dataclass(frozen=True)
class CorpusFile:
    """One file: its name in the cache, what it is for, its address, and its bytes where they were seen.

    `member` is its name inside the zip archive at the address, when it is packed in one.
    """

    name: str
    role: str = "train"
    url: str | None = None
    sha256: str | None = None
    n_bytes: int | None = None
    member: str | None = None


@dataclass(frozen=True)
class Corpus:
    """A corpus with a name. `kind` is "text" (to pretrain on), "labels" or "instructions" (to fine-tune on)."""

    name: str
    kind: str
    about: str
    licence: str
    source: str
    files: tuple[CorpusFile, ...]

    def file(self, role: str) -> CorpusFile | None:
        """The file with this role ("train", "val" or "test"), if the corpus has one."""
        return next((item for item in self.files if item.role == role), None)


_ALL = (
    Corpus(
        name="tinyworld",
        kind="text",
        about="Stories from one small village, told by Vidro itself, 5 MB: a first text to train on.",
        licence="that of Vidro",
        source="vidro.data.tinyworld",
        files=(
            CorpusFile(
                "tinyworld.txt",
                sha256="c240c01d2db8db6ef7b9333243eb682f650868b6ad173867eb8338f3d09bde52",
                n_bytes=5_097_502,
            ),
        ),
    ),
    Corpus(
        name="tinyworld-spam",
        kind="labels",
        about="2,000 messages from that village, half of them spam, and 250 of unseen combinations.",
        licence="that of Vidro",
        source="vidro.data.tinyworld",
        files=(
            CorpusFile(
                "tinyworld-spam.tsv",
                sha256="f8e6e273b33d9e09f3d1c269e4fd415e71794b94bc11c1feac122bc78d516256",
                n_bytes=155_462,
            ),
            CorpusFile(
                "tinyworld-spam-test.tsv",
                role="test",
                sha256="ee9291ffea79def84f23f0dfa27c448df673be11a08d782988a946dac3ee6c17",
                n_bytes=20_018,
            ),
        ),
    ),
    Corpus(
        name="tinyworld-topics",
        kind="labels",
        about="2,000 messages from that village about five topics, and 250 of unseen combinations.",
        licence="that of Vidro",
        source="vidro.data.tinyworld",
        files=(
            CorpusFile(
                "tinyworld-topics.tsv",
                sha256="b5cff9cd042a26939378eb1a9e55de0c7fbbabdc9a2cda935d4a4cc6eae66deb",
                n_bytes=130_041,
            ),
            CorpusFile(
                "tinyworld-topics-test.tsv",
                role="test",
                sha256="657885b0007487436870e9079f9e4f1b3deb23580b3ca4888a4c04a0f7006f61",
                n_bytes=16_285,
            ),
        ),
    ),
    Corpus(
        name="tinyworld-instructions",
        kind="instructions",
        about="24,000 instructions of eight kinds with exact answers, and 480 of unseen combinations.",
        licence="that of Vidro",
        source="vidro.data.tinyworld",
        files=(
            CorpusFile(
                "tinyworld-instructions.jsonl",
                sha256="7e2cbb30f160a0fe727442e1b7ac73d549818443e21739e191c39deafd04351d",
                n_bytes=3_122_609,
            ),
            CorpusFile(
                "tinyworld-instructions-test.jsonl",
                role="test",
                sha256="78d4c434bf23527c73a4a5d4556cd5e68bfc43e4731ce2e07c6afccde184be52",
                n_bytes=62_271,
            ),
        ),
    ),
    Corpus(
        name="tinyshakespeare",
        kind="text",
        about="Plays of Shakespeare, 1.1 MB: the usual first text for small models.",
        licence="public domain",
        source="karpathy/char-rnn @ 6f9487a6fe5b : data/tinyshakespeare/input.txt",
        files=(
            CorpusFile(
                "tinyshakespeare.txt",
                url=f"{_GITHUB}/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
                sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
                n_bytes=1_115_394,
            ),
        ),
    ),
    Corpus(
        name="the-verdict",
        kind="text",
        about="The Verdict, a short story by Edith Wharton (1908), 20 kB: small enough to watch overfitting.",
        licence="public domain",
        source="rasbt/LLMs-from-scratch @ 28c65cdfbc33 : ch02/01_main-chapter-code/the-verdict.txt",
        files=(
            CorpusFile(
                "the-verdict.txt",
                url=f"{_GITHUB}/rasbt/LLMs-from-scratch/main/ch02/01_main-chapter-code/the-verdict.txt",
                sha256="b41e41a68f0398a3154ae69e2e4c0e2694e17fe0d66730536837f1b01935b31f",
                n_bytes=20_479,
            ),
        ),
    ),
    Corpus(
        name="names",
        kind="text",
        about="32,033 first names, one a line, 228 kB: for character models.",
        licence="public domain (names from ssa.gov); the repository is MIT",
        source="karpathy/makemore @ 988aa59e4d8f : names.txt",
        files=(
            CorpusFile(
                "names.txt",
                url=f"{_GITHUB}/karpathy/makemore/master/names.txt",
                sha256="0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
                n_bytes=228_145,
            ),
        ),
    ),
    Corpus(
        name="wikitext-2",
        kind="text",
        about="Wikipedia articles, words apart and rare ones as <unk>, 13 MB: for perplexities known from papers.",
        licence="CC BY-SA 3.0 (Wikipedia)",
        source="pytorch/examples @ 77f55b912142 : word_language_model/data/wikitext-2/",
        files=(
            CorpusFile(
                "train.txt",
                url=f"{_WIKITEXT}/train.txt",
                sha256="9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
                n_bytes=10_797_148,
            ),
            CorpusFile(
                "valid.txt",
                role="val",
                url=f"{_WIKITEXT}/valid.txt",
                sha256="f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
                n_bytes=1_121_681,
            ),
            CorpusFile(
                "test.txt",
                role="test",
                url=f"{_WIKITEXT}/test.txt",
                sha256="d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
                n_bytes=1_256_449,
            ),
        ),
    ),
    Corpus(
        name="tinystories",
        kind="text",
        about="Short stories in words that small children know, made by GPT-4 (version 2), 2.2 GB.",
        licence="CDLA-Sharing-1.0",
        source="roneneldan/TinyStories on huggingface.co",
        files=(
            CorpusFile("TinyStoriesV2-GPT4-train.txt", url=f"{_TINYSTORIES}/TinyStoriesV2-GPT4-train.txt"),
            CorpusFile("TinyStoriesV2-GPT4-valid.txt", role="val", url=f"{_TINYSTORIES}/TinyStoriesV2-GPT4-valid.txt"),
        ),
    ),
    Corpus(
        name="tinystories-valid",
        kind="text",
        about="Only the validation stories of TinyStories, 22 MB: a good size for a laptop.",
        licence="CDLA-Sharing-1.0",
        source="roneneldan/TinyStories on huggingface.co",
        files=(CorpusFile("TinyStoriesV2-GPT4-valid.txt", url=f"{_TINYSTORIES}/TinyStoriesV2-GPT4-valid.txt"),),
    ),
    Corpus(
        name="english-novels",
        kind="text",
        about="87 novels, British in the main, 1839-1930, 69 MB.",
        licence="public domain (published before 1931); the collection states no licence of its own",
        source="computationalstylistics/100_english_novels @ 143e601875d7 : corpus/*.txt",
        files=(
            CorpusFile(
                "english-novels.jsonl.gz",
                sha256="f924b91e2211d8f845d9759ae9a196b3bb8314bb7be9d34e884f82f58fb037f1",
                n_bytes=26_304_369,
            ),
        ),
    ),
    Corpus(
        name="portuguese-novels",
        kind="text",
        about="90 Portuguese novels, 1843-1917, 35 MB.",
        licence="texts public domain, markup CC BY 4.0 (ELTeC-por, ed. Diana Santos)",
        source="COST-ELTeC/ELTeC-por @ 888686891631 : level1/*.xml",
        files=(
            CorpusFile(
                "portuguese-novels.jsonl.gz",
                sha256="46c01e5fc747a0e330cceb65f3a4666b62cefc7554d4b65571e5bf1618cd794b",
                n_bytes=13_408_747,
            ),
        ),
    ),
    Corpus(
        name="sms-spam",
        kind="labels",
        about="5,574 text messages, 747 of them spam (Almeida, Gómez Hidalgo, Yamakami).",
        licence="CC BY 4.0 (UCI)",
        source="UCI SMS Spam Collection",
        files=(
            CorpusFile(
                "SMSSpamCollection.tsv",
                url="https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
                member="SMSSpamCollection",
                sha256="7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d",
                n_bytes=477_907,
            ),
        ),
    ),
    Corpus(
        name="instruction-data",
        kind="instructions",
        about="1,100 instructions with answers, from the book Build a Large Language Model (From Scratch).",
        licence="Apache-2.0",
        source="rasbt/LLMs-from-scratch @ 28c65cdfbc33 : ch07/01_main-chapter-code/instruction-data.json",
        files=(
            CorpusFile(
                "instruction-data.json",
                url=f"{_GITHUB}/rasbt/LLMs-from-scratch/main/ch07/01_main-chapter-code/instruction-data.json",
                sha256="7e09a9af353722ca15c18bc580f093f9c39d3178335a75177319cb1e1d163944",
                n_bytes=203_524,
            ),
        ),
    ),
    Corpus(
        name="alpaca",
        kind="instructions",
        about="52,002 instructions with answers, made by a language model (Stanford Alpaca), 23 MB.",
        licence="CC BY-NC 4.0: not for commercial use",
        source="tatsu-lab/stanford_alpaca @ 761dc5bfbdee : alpaca_data.json",
        files=(
            CorpusFile(
                "alpaca_data.json",
                url=f"{_GITHUB}/tatsu-lab/stanford_alpaca/main/alpaca_data.json",
                sha256="2eddafc6b977608d778aaab8dfc7e50e547b3af9826dfb9e909d9fc362e4a419",
                n_bytes=22_773_992,
            ),
        ),
    ),
)

CORPORA: dict[str, Corpus] = {corpus.name: corpus for corpus in _ALL}
