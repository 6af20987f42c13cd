"""The facts of tiny world: who lives where, likes what, owns what, fears what in the village of Tansy Bay.

Some two hundred facts about sixteen people, ten animals, sixteen places and eleven good things, as tables to read. Not
here: the stories about them (`plots.txt`), which never contradict these tables, so a model that has read enough stories
can know the facts.
"""

from __future__ import annotations

import re

# In every table a cell ends at a bar, and a line that begins with a space or a bar goes on with the line before.

# Place | how one is there | what everybody knows about it | two spots where a small thing can lie
PLACES_TABLE = """
windmill | at the windmill | Its sails creaked like an old chair. | between two sacks of flour | on the third stair
lighthouse | at the lighthouse | Its lamp turned all night long. | under the great lamp | on a window sill
bakery | at the bakery | It always smelled of cinnamon. | behind the bread basket | on the flour bin
glass workshop | at the glass workshop | The oven glowed orange there, day and night. | beside a green vase
harbour | at the harbour | The boats bumped softly against the wall. | under a heap of nets | in an empty crab pot
bridge | on the bridge | The water ran fast and brown below it. | between two loose planks | on the stone railing
orchard | in the orchard | The trees stood there in seven crooked rows. | in the fork of a pear tree | in the long grass
school | at the school | Its bell had a crack and said dunk instead of ding. | under a desk | beside the ink pots
market square | on the market square | A stone fish spat water into the fountain. | beside the fountain | under a stall
clock tower | in the clock tower | Its clock was always nine minutes late. | behind a brass wheel | beside the bell
ferry landing | at the ferry landing | A rope as thick as an arm lay coiled there. | inside the coil | under a bench
green hill | on the green hill | From there you could see three islands. | under a clump of heather | behind a sheep
greenhouse | in the greenhouse | It was warm there, even in winter. | under a tomato leaf | in an empty flower pot
wood | in the wood | The owls there spoke only after supper. | under a fern | in a hollow oak
beach | on the beach | The sand there squeaked under every foot. | behind a sand castle | beside a pink shell
pond | by the pond | Seven willows leaned over it. | among the reeds | on a mossy stone
"""

# Name | she or he | kind | home: how, place | owns | likes | fears | habit
PEOPLE_TABLE = """
Nora | she | girl | in | windmill | red kite | plum cake | the dark | counted everything twice
Ivo | he | boy | in | lighthouse | brass telescope | strawberries | thunder | said good morning to the sea every day
Granny Pell | she | baker | above | bakery | copper pot | mint tea | spiders | called everyone a little dumpling
Tomas | he | glassmaker | behind | glass workshop | glass lantern | honey | high places | hummed while he worked
Bram | he | fisherman | at | harbour | long rope | plum cake | spiders | told the same joke every day
Ada | she | postwoman | beside | bridge | yellow bicycle | hazelnuts | geese | knew every dog by name
Juno | she | girl | in | orchard | tall ladder | smoked fish | thunder | climbed everything that had branches
Wim | he | boy | next to | school | silver whistle | lemon drops | the dark | asked nine questions before breakfast
Miss Okoro | she | teacher | on | market square | old map | pears | high places | corrected every sign in the village
Lev | he | clockmaker | in | clock tower | golden watch | oat biscuits | geese | was always exactly nine minutes late
Hanna | she | ferrywoman | at | ferry landing | blue boat | onion soup | the dark | sang to the fish
Piet | he | shepherd | on | green hill | woollen blanket | blackberry jam | speeches | gave every sheep a middle name
Rosa | she | gardener | beside | greenhouse | green wheelbarrow | honey | thunder | talked to the seeds until they grew
Otis | he | boy | at the edge of | wood | round drum | strawberries | deep water | kept acorns in all his pockets
Mira | she | girl | near | beach | paintbox | blackberry jam | deep water | drew pictures on anything that stood still
Selma | she | doctor | beside | pond | black bag | smoked fish | speeches | wore two pairs of glasses at once
"""
FRIENDS = (  # best friends, by twos
    "Nora", "Ivo", "Granny Pell", "Ada", "Tomas", "Rosa", "Bram", "Lev", "Juno", "Wim", "Miss Okoro", "Hanna",
    "Piet", "Selma", "Otis", "Mira",
)  # fmt: skip

# Name | kind | she or he | home: how, place | likes | how it comes | habit | how it searches | noise at night | why
# | what it does in somebody else's house. An animal belongs to the one who lives at its place.
ANIMALS_TABLE = """
Biscuit | dog | he | behind | bakery | bread crusts | a plate of bread crusts | barked at the moon on Fridays
  | put his nose to the ground | a long, wobbly howl | He was teaching himself to sing, and he had almost reached the
  tune. | At midnight {s} barked at the moon, and when the moon did not answer, he barked at {h}.
Pepper | cat | she | in | lighthouse | cold milk | a bowl of cold milk | slept on every important paper
  | looked behind everything without moving a whisker | a soft scratching | She was painting her own portrait with one
  paw. | {s} lay down on a heap of letters, so none of them could be read, answered or paid.
Clover | goat | she | on | green hill | thistles | a heap of thistles | ate any hat that was left alone
  | climbed up high to see better | a quick click-clack | She was learning to dance on two legs.
  | {s} ate a hat, and then another hat, and then the hat stand.
Duchess | goose | she | by | pond | wet oats | a dish of wet oats | believed that she owned the road
  | marched ahead and told everyone to step aside | a deep, grand voice | She was giving a speech to her own reflection.
  | {s} told {h} where to sit, when to eat and how to walk.
Moss | tortoise | he | in | greenhouse | lettuce | a whole lettuce | was never in a hurry | looked so slowly that
  nothing could escape him | a slow thump, thump | He was training for a race, and he felt quite fast.
  | {s} set out for the door at breakfast, and by supper he was in the way of everybody.
Thimble | mouse | she | in | windmill | old cheese | a crumb of old cheese | collected buttons | crept into every crack
  | a tiny rattle | She was building a castle out of buttons, with a gate and two towers. | By evening there was not a
  button left on any coat, and one was missing on the sofa.
Captain | parrot | he | at | harbour | sunflower seeds | a cup of sunflower seeds | repeated whatever people said at
  breakfast | flew round and round and shouted advice | two angry voices | He was quarrelling with himself, and he was
  losing. | At breakfast {s} heard {h} say "Oh dear", and he said it four hundred times before bed.
Professor | owl | she | in | clock tower | apple rings | a string of apple rings | read thick books by moonlight
  | turned her head all the way round | a rustle of pages | She was reading fairy tales instead of Latin.
  | {s} asked for a book, and then for a thicker book, and then for silence.
Button | hedgehog | he | in | orchard | mushrooms | a plate of mushrooms | said sorry to everyone he pricked
  | rolled through the grass from end to end | a quiet clicking | He was knitting a scarf, and his own spines were the
  needles. | {s} said sorry to the sofa, to the carpet and to both slippers, for he had pricked them all.
Marmalade | donkey | he | near | bridge | carrots | a bunch of carrots | sighed before every answer
  | walked straight ahead with a deep sigh | a mournful murmur | He was writing a poem about carrots.
  | {s} sighed so deeply that the candle went out, and then he sighed because it was dark.
"""

# What people like | how it comes | who has the best
GOODS_TABLE = """
plum cake | a plum cake | Granny Pell
honey | a jar of honey | Piet
pears | a bag of pears | Juno
smoked fish | a smoked fish | Bram
strawberries | a bowl of strawberries | Rosa
hazelnuts | a bag of hazelnuts | Otis
mint tea | a tin of mint tea | Lev
blackberry jam | a pot of blackberry jam | Hanna
onion soup | a jug of onion soup | Selma
oat biscuits | a tin of oat biscuits | Miss Okoro
lemon drops | a bag of lemon drops | Tomas
"""

SMALL = {"brass telescope", "glass lantern", "silver whistle", "old map", "golden watch", "paintbox"}


def lines(text: str) -> list[str]:
    """The lines of a table, with those that begin with a space or a bar put back where they belong."""
    return re.sub(r"\n( +|(?=\|))", " ", text).strip().split("\n")


def cells(line: str, bar: str = "|") -> list[str]:
    """The cells of a line.

    >>> [cells(line) for line in lines("a | b\\n  | c\\nd")]
    [['a', 'b', 'c'], ['d']]
    """
    return [" ".join(cell.split()) for cell in line.split(bar)]


def rows(table: str) -> list[list[str]]:
    """The rows of a table and their cells."""
    return [cells(line) for line in lines(table)]


def with_article(noun: str) -> str:
    """The noun with "a" or "an".

    >>> with_article("old map"), with_article("red kite")
    ('an old map', 'a red kite')
    """
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


class Place:
    """Somewhere in Tansy Bay; prints as "the windmill"."""

    names: frozenset[str] = frozenset()

    def __init__(self, name: str, at: str, fact: str, *spots: str) -> None:
        self.name, self.at, self.fact, self.spots = name, at, fact, spots

    def __str__(self) -> str:
        return f"the {self.name}"


class Being:
    """A person or an animal: the facts and the words to speak of it; prints as its name."""

    friend: Being  # of a person
    keeper: Being  # of an animal

    def __init__(self, name: str, pronoun: str, kind: str, how: str, place: Place) -> None:
        self.name, self.kind, self.place, self.names = name, kind, place, frozenset([name])
        self.they = pronoun
        self.them, self.their = ("her", "her") if pronoun == "she" else ("him", "his")
        self.They, self.Their = self.they.title(), self.their.title()
        self.home = f"{how} {place}"
        self.a_kind = with_article(kind)
        self.full = name if kind in ("girl", "boy") or name.startswith("Miss") else f"{name} the {kind}"
        self.likes = self.treat = self.habit = self.makes = ""
        self.own = self.a_own = self.fear = self.search = self.noise = self.secret = self.mischief = ""

    def __str__(self) -> str:
        return self.name


def _people() -> dict[str, Being]:
    treats = {likes: treat for likes, treat, _ in rows(GOODS_TABLE)}
    makes = {maker: likes for likes, _, maker in rows(GOODS_TABLE)}
    found = {}
    for name, pronoun, kind, how, place, own, likes, fear, habit in rows(PEOPLE_TABLE):
        person = found[name] = Being(name, pronoun, kind, how, PLACES[place])
        person.own, person.a_own, person.likes, person.fear, person.habit = own, with_article(own), likes, fear, habit
        person.treat, person.makes = treats[likes], makes.get(name, "")
    for one, other in zip(FRIENDS[::2], FRIENDS[1::2], strict=True):
        found[one].friend, found[other].friend = found[other], found[one]
    return found


def _animals() -> dict[str, Being]:
    found = {}
    for name, kind, pronoun, how, place, likes, treat, habit, search, noise, secret, mischief in rows(ANIMALS_TABLE):
        animal = found[name] = Being(name, pronoun, kind, how, PLACES[place])
        animal.likes, animal.treat, animal.habit, animal.mischief = likes, treat, habit, mischief
        animal.search, animal.noise, animal.secret = search, noise, secret
        animal.keeper = next(person for person in PEOPLE.values() if person.place is animal.place)
    return found


PLACES = {row[0]: Place(*row) for row in rows(PLACES_TABLE)}
PEOPLE = _people()
ANIMALS = _animals()
BEST_MAKER = {likes: PEOPLE[maker] for likes, _, maker in rows(GOODS_TABLE)}
