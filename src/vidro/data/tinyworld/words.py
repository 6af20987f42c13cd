"""The words that instructions are made of, and the phrasings of each kind."""

from __future__ import annotations

from vidro.data.tinyworld.facts import rows


def _words(text: str) -> list[str]:
    return text.split()


def _pairs(text: str) -> list[list[str]]:
    return [pair.split() for pair in text.split(",")]


UNITS = (
    ("hours", "minutes", 60), ("minutes", "seconds", 60), ("days", "hours", 24), ("weeks", "days", 7),
    ("years", "months", 12), ("dozens", "pieces", 12), ("metres", "centimetres", 100), ("kilometres", "metres", 1000),
    ("km", "meters", 1000), ("m", "cm", 100), ("kilograms", "grams", 1000), ("kg", "g", 1000),
    ("litres", "millilitres", 1000), ("centimetres", "millimetres", 10), ("tonnes", "kilograms", 1000),
    ("euros", "cents", 100),
)  # fmt: skip
SUMS = {
    "+": "{name} has {a} {things} and gets {b} more. How many {things} is that?",
    "-": "{name} has {a} {things} and gives away {b}. How many {things} are left?",
    "*": "{name} fills {a} baskets with {b} {things} each. How many {things} is that?",
    "/": "{name} shares {a} {things} equally among {b} friends. How many {things} does each of them get?",
}
COUNTED = ("pears", "shells", "buttons", "acorns", "eggs", "coins", "letters", "biscuits")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

NOUNS = _words("""
boat kite lamp hat ladder basket bell button pear lemon goat donkey parrot gull sailor baker ship island letter
lantern window door road bridge tower garden berry pony story cherry box fox dish brush bench church wish glass apple
anchor artist barrel beard beetle bird blanket boot bottle bowl branch bread brother bucket cake candle captain carpet
castle cat chair chest circus city class cloud coach coat coin cook corner cousin cow cross crown cup curtain daisy
desk dog dragon dress drum duck eagle egg engine family farm feather fence ferry field finger fire flag flower fork
fountain friend frog game gate ghost giant gift girl guest hammer hand harbour hill horse house idea jacket jar kettle
key king kitchen lady lake lesson lily lock market match meadow
""")
VERBS = _words("""
walk paint climb cook wash mend jump laugh whisper shout bake dance smile close love rescue carry hurry tidy cry look
open push pull row sail plant water listen wait count knock add answer ask bark boil borrow bounce brush call change
chase clean collect comb cover crawl cross dream dry empty enjoy enter explain fill finish fix float follow fold frown
gather grumble guess hammer hate hope hunt invite iron join juggle kick kiss land learn lick lift like live lock march
marry measure melt miss move obey order pack paddle pass peel play point
""")
MORE_NOUNS = _words("""
arm army bag bean bear bee blossom brick bubble camp carrot cave chain clock country creek crowd duty elephant festival
forest grape hedge insect jungle knee lamb moon nest night onion oven party peach
""")
MORE_VERBS = _words("""
admire arrive avoid blink blush cheer chew cure deliver deny destroy discover earn end fasten fetch greet growl heal
imagine lean moan notice polish reply roar save sigh sneeze stare stroll study
""")
# Made-up words are put together of these. No ending doubles its last letter in the past, as "hug" does.
STARTS = ("", "", "ba", "de", "ka", "lo", "mi", "re", "ta", "un", "zo")
MIDDLES = _words("b bl br ch d dr f fl g gl gr h j k kl l m n p pl pr r s sh sk sl sm sn sp st t tr v w z")
ENDS = _words("""
abble ace addy ail ain aise ake amp and ane ard ark ash ast ate each eak eam een ell end ess est etter ibble ide ift ile
ill ime imp ind ine ing ink ish ist oak oan ock olt ond oof oot ord oss ottle ound out ove owl oy udge udy umble ump unk
unter urn ush usk
""")
ODD_PLURALS = dict(_pairs("""
goose geese, mouse mice, child children, foot feet, tooth teeth, man men, woman women, sheep sheep, loaf loaves,
leaf leaves, wolf wolves, knife knives, shelf shelves, thief thieves
"""))  # fmt: skip
ODD_PASTS = dict(_pairs("""
go went, eat ate, see saw, write wrote, sing sang, swim swam, find found, bring brought, buy bought, take took,
give gave, run ran, sleep slept, tell told, stop stopped, hug hugged, sell sold, think thought
"""))  # fmt: skip
PARTICIPLES = dict(_pairs("""
found found, painted painted, sold sold, hid hidden, washed washed, carried carried, drew drawn, stole stolen,
forgot forgotten, took taken, saw seen, bought bought, brought brought, mended mended, chose chosen, lost lost
"""))  # fmt: skip
MUSIC = dict(_pairs("composed composed, sang sung, wrote written, played played, forgot forgotten"))
PIECES = ("song", "march", "melody", "lullaby")
STRANGERS = [f"the {who}" for who in _words("goat parrot donkey artist sailor baker captain queen")]
OPPOSITES = _pairs("""
hot cold, big small, old new, high low, long short, fast slow, wet dry, loud quiet, full empty, dark bright,
heavy light, early late, open closed, clean dirty, happy sad, strong weak, hard soft, near far, rich poor,
cheap expensive, sweet bitter, wide narrow, thick thin, brave cowardly, day night, summer winter, north south,
east west, up down, first last, left right, above below, before after, always never, everything nothing,
everybody nobody, yes no, true false, begin end, come go, give take, buy sell, lose find, laugh cry,
remember forget, push pull, rise fall, friend enemy, question answer, top bottom, inside outside, deep shallow,
smooth rough, sharp blunt, tight loose, alive dead, many few
""")
THINGS = [
    "silver spoon", "wooden horse", "yellow hat", "long rope", "tin whistle", "brown teapot", "glass marble",
    "straw basket", "old key", "odd boot", "paper boat", "woollen sock", "little bell", "orange ribbon",
]  # fmt: skip
STORIES = rows("""
{a} found {thing} {p.at}. {a.They} gave it to {b}, and {b} put it under the bed. | Who found {thing}? | {a}
  | What did {a} find? | {thing} | Where did {a} find it? | {p.at} | Who put it under the bed? | {b}
{a} went for a walk with {s.full}. They met {b} {p.at} with {food}. {s} ate it at once. | Where did they meet {b}?
  | {p.at} | What did {s} eat? | {food} | Who brought {food}? | {b} | Who ate it? | {s}
On {day} {a} lost {thing}. {b} looked for it all day, but it was {s.full} who found it. It lay {p.at}.
  | On which day did {a} lose {thing}? | {day} | Who looked for it all day? | {b} | Who found it? | {s}
  | Where did it lie? | {p.at}
""")

PHRASINGS = {
    "units": ("How many {to} are {n} {of}?", "Convert {n} {of} to {to}.", "{name} wrote {n} {of}. Say it in {to}."),
    "arithmetic": ("What is {a} {op} {b}?", "Calculate {a} {op} {b}.", "{story}", "{story} Answer with a number."),
    "plural": ("Write the plural.", "What is the plural of this word?", "This is for one. What is it for two?"),
    "past": ("Write the past tense.", "What is the past of this verb?", "We do it today. What did we do yesterday?"),
    "passive": ("Put this into the passive.", "Say the same in the passive.", "Rewrite it in the passive."),
    "active": ("Say this without the passive.", "Rewrite it without the passive.", "Put this into the active."),
    "letters": ("Spell the word {word}.", "Write {word} letter by letter.", "How is {word} spelled?"),
    "backwards": ("Write {word} backwards.", "Spell {word} from end to beginning.", "What is {word} backwards?"),
    "words": ("Sort the words alphabetically.", "Put the words into alphabetical order.", "Sort from A to Z."),
    "numbers": ("Sort the numbers from small to large.", "Put the numbers into rising order.", "Smallest first."),
    "opposites": ("What is the opposite of {word}?", "Give the opposite of {word}.", "The opposite of {word} is ..."),
}  # fmt: skip
