"""Tiny world: stories from one small village, told by a grammar; the text that quickstart learns from.

A story is one large number, read digit by digit: every choice among n things takes one digit in base n from the
hash of (seed, index). So it is the same on every machine, and no generator state has to be kept.

Not here: the people, animals and places (`tinyworld_facts`), reading texts from files (`documents`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from vidro.data.tinyworld_facts import ANIMALS, BEST_MAKER, PEOPLE, PLACES, SMALL, Being

T = TypeVar("T")


class Digits:
    """The digits of one large number, 256 bits of hash; a story uses about forty of them."""

    def __init__(self, seed: int, index: int) -> None:
        self.rest = int.from_bytes(hashlib.sha256(f"tinyworld/1/{seed}/{index}".encode()).digest(), "little")

    def pick(self, options: Sequence[T]) -> T:
        """One of `options`, all equally likely."""
        self.rest, digit = divmod(self.rest, len(options))
        return options[digit]

    def person(self, *others: Being) -> Being:
        """A person who is none of `others`."""
        return self.pick([person for person in PEOPLE.values() if person not in others])


# In the stories below h is the hero, f a friend, o an owner, w somebody wise, k and m others, s an animal with a
# secret, p a place. A tuple is a choice; a plain string is always told.

OPENING = (
    "Once there was {h.a_kind} called {h}. {h.They} lived {h.home}, and {h.they} {h.habit}.",
    "In Tansy Bay, {h.home}, lived {h.a_kind} called {h}. {h.They} {h.habit}.",
    "Everybody in Tansy Bay knew {h}, because {h.they} {h.habit}.",
    "{h} was {h.a_kind} who lived {h.home} and {h.habit}.",
    "If you ever come to Tansy Bay, you will hear of {h}. {h.They} lived {h.home} and {h.habit}.",
    "{h.full} lived {h.home}. {h.They} owned {h.a_own}, and {h.they} {h.habit}.",
)
DAY = (
    "One bright morning", "One windy morning", "One grey afternoon", "One quiet Sunday", "One cold evening",
    "One day in spring", "On the first day of summer", "On the last day of autumn", "After a week of rain",
)  # fmt: skip
THANKS = (
    "{h} thanked {f} with {f.treat}, because {f} loved {f.likes} more than anything.",
    "That evening {f} found {f.treat} at the door, and a note that said: Thank you.",
    '"What can I give you?" asked {h}. "Well," said {f}, "I would not say no to {f.treat}."',
)

TROUBLES = (
    ("Juno", "Pepper the cat sat at the top of the tallest tree in the orchard and could not come down.",
     "{h} held up a bowl of cold milk, but Pepper only dug her claws in deeper.",
     "Juno leaned the tall ladder against the trunk, climbed up, and came down with a cat on her head."),
    ("Bram", "Clover the goat stood on a narrow rock on the green hill and had forgotten how she got there.",
     "{h} pointed out the way with a hat, and Clover ate the hat.",
     "Bram tied the long rope around Clover and let her down. At the bottom she said that she had only been resting."),
    ("Hanna", "Duchess the goose had laid an egg, and it had rolled into the pond and floated away.",
     "{h} threw small stones to push it back, but it only floated farther.",
     "Hanna rowed out in the blue boat and brought the egg home in her hat."),
    ("Rosa", "Marmalade the donkey sat in the middle of the bridge with a sore foot and would not walk another step.",
     "{h} pulled at one end and pushed at the other, but a donkey who sits is heavier than a house.",
     "Rosa came with the green wheelbarrow, and Marmalade rode home in it like a king."),
    ("Tomas", "Moss the tortoise had gone for a walk in the wood, and now it was night and he was not back.",
     "{h} went to look for him and met two trees, nose first.",
     "Tomas walked ahead with the glass lantern, and there was Moss. He had not yet noticed that it was dark."),
    ("Wim", "A thick fog had come in, and the fishing boats could not find the harbour.",
     "{h} shouted until no voice was left, but the fog swallowed every word.",
     "Wim blew the silver whistle again and again, and one by one the boats came home to the sound."),
    ("Nora", "Thimble the mouse had fallen into the well behind the school.",
     "{h} let down a bucket, but it was so big that Thimble hid from it.",
     "Nora let down the string of the red kite, and Thimble climbed up it like a sailor."),
    ("Ada", "A letter for the noon ship lay forgotten on a table in the bakery, and it was five to twelve.",
     "{h} ran as far as the bridge, and there {h.they} had no breath left.",
     "Ada jumped on the yellow bicycle, flew down the road and threw the letter on board."),
    ("Piet", "A baby seal lay on the beach, wet and shivering.",
     "{h} sang to it, which was kind but not warm.",
     "Piet wrapped it in the woollen blanket, and by evening it was well enough to swim home."),
    ("Ivo", "Captain the parrot had flown out to sea after breakfast and had not come back.",
     "{h} stared at the waves from the green hill, but all the dots looked the same.",
     "Ivo looked through the brass telescope. One of the dots was sitting on a buoy and arguing with a gull."),
    ("Granny Pell", "Forty hungry sailors stood at the ferry landing, and nobody had cooked for more than six.",
     "{h} cut a loaf into forty pieces, and they were gone before anyone could count them.",
     "Granny Pell heaved the copper pot onto the fire, and every little dumpling of a sailor had two bowls of stew."),
    ("Otis", "A hundred gulls had come down on the market square and were stealing the cheese.",
     "{h} waved both arms, and the gulls thought that it was a dance.",
     "Otis beat the round drum just once, and there was not a gull left in the sky."),
    ("Selma", "Button the hedgehog had eaten too many mushrooms and lay on his back in the orchard.",
     "{h} patted him, which is never wise with a hedgehog.",
     "Selma took a brown bottle out of the black bag. One spoonful, one terrible face, and Button was well again."),
    ("Lev", "The clock in the tower had stopped, and nobody knew when the ferry would leave.",
     "{h} looked up at the sun, but the sun was behind a cloud and would not say.",
     "Lev read the time from the golden watch. It was nine minutes late, so the ferry waited, and nobody missed it."),
    ("Miss Okoro", "Two strangers were looking for the old chapel, and nobody could remember where it was.",
     "{h} sent them left, then right, and then they were on the market square again.",
     "Miss Okoro unfolded the old map, and there was the chapel, behind the wood, no bigger than a fly."),
    ("Mira", "The rain had washed the letters off the signpost, and all the carts took the wrong road.",
     "{h} stood there and pointed, but nobody can point all day.",
     "Mira opened the paintbox and painted a new sign, with a whale in the corner, and no cart went wrong again."),
)  # fmt: skip

FEARS = {
    "the dark": (
        "One night {h} was still {p.at} when all the lamps in Tansy Bay went out.",
        '"The dark is only the day with its eyes closed," said {f}. "Count your steps, and it will get bored."',
        "{h} counted forty steps, then fifty, then a hundred. Nothing bit {h.them}, and the stars came out to look."),
    "thunder": (
        "One afternoon {h} was {p.at} when the sky turned black and the first thunder rolled in from the sea.",
        '"That is only the sky moving its furniture," said {f}. "What do you think it has dropped?"',
        '"A table," said {h}. It rumbled again. "A wardrobe! A piano!" At the last clap {h.they} laughed out loud.'),
    "deep water": (
        "One morning {h} had to cross to the islands, over the deep water, in a boat that rocked.",
        '"Do not look down," said {f}. "Look at the far shore and tell me about {h.likes}."',
        "{h} talked and talked, and when there was nothing more to say about {h.likes}, the boat had landed."),
    "high places": (
        "One day the flag on the clock tower was tangled, and the whole village looked at {h}.",
        '"Do not look at the ground," said {f}. "Look at the next step. It is only one step high."',
        "One step, and one step, and one step more. At the top the view was long, and the flag came free."),
    "geese": (
        "One morning Duchess the goose stood in the middle of the road, and {h} had to get past her.",
        '"Bow to her," whispered {f}. "She believes that she owns the road, and she likes good manners."',
        "{h} bowed very low. Duchess thought about it for a long time, and then she bowed too."),
    "spiders": (
        "One morning a spider as big as a plum sat on the door, just above the handle.",
        '"Give it a name," said {f}. "Nobody can be afraid of somebody called Gerald."',
        '"Good day, Gerald," said {h} in a very small voice. Gerald politely lifted one leg and walked up the wall.'),
    "speeches": (
        "At the summer feast the whole village sat on the market square, and {h} had to make the speech.",
        '"Do not talk to all of them," said {f}. "Talk to me, as if we were alone."',
        "So {h} talked to one friendly face. The speech was short, there were two jokes in it, and everybody clapped."),
}  # fmt: skip

OBSTACLES = (
    "On the way back it began to rain, and the path turned into a brook. Moss the tortoise knew every dry stone in it. "
    '"Walk where I walk," he said, and it took only two hours.',
    "On the way back Duchess the goose stood in the middle of the road and let nobody pass. "
    '"Call her Your Highness," sighed Marmalade the donkey. {h} did, and Duchess stepped aside at once.',
    "On the way back the bottom of the basket began to tear. Button the hedgehog looked at the hole, rolled himself up "
    "and sat in it like a cork.",
    "On the way back {h} took a wrong turn in the wood. Captain the parrot flew ahead and shouted the way. "
    '"Left! Left! No, the other left!"',
    "On the way back {h} met Biscuit the dog, who was so hungry that he ate it all. Then he was so ashamed that he ran "
    "and begged for another with his very best eyes.",
    "On the way back there was a hole in the bridge. Clover the goat lay down across it. "
    '"You may walk on me," she said, "but wipe your feet."',
    "On the way back it grew so dark that {h} could not see {h.their} own shoes. "
    '"Hold my tail," said Pepper the cat, who could see everything.',
    "On the way back the wind blew so hard that {h} walked forwards and went backwards. "
    '"Wait behind me," said Marmalade the donkey with a sigh, and no wind in the world could move him.',
)

FAVOURS = (
    ('"first tell me a joke that I do not know"', "{h} told the one about the two herrings, and {m} had to sit down."),
    ('"first sing me a song with three verses"', "{h} knew only two, so {h.they} made up a third about a whale."),
    ('"first help me to find my glasses"', "{h} looked at {m} and found them at once, on top of {m.their} head."),
    ('"first hold this wool while I wind it"', "{h} held it until {h.their} arms felt like wood."),
    ('"first say it backwards"', "{h} tried, and it sounded like a cough, but {m} was delighted."),
    ('"first guess what I have in my pocket"', "{h} guessed a frog, a nail and a key. It was nothing at all."),
)

FINDS = (
    ("a shell that hummed like the sea", '"Odd days for one of you, even days for the other," said {w}.',
     "So it hummed in one house today and in the other tomorrow, and it sounded a little different in each."),
    ("a very long scarf", '"How many necks have you got?" asked {w}. "Two? And how long is the scarf?"',
     "They walked home in it side by side, like a beast with two heads, and both heads were warm."),
    ("a big umbrella", '"It will rain in a minute," said {w}. "Then you will see how many people fit under it."',
     "It rained, and two fitted under it very well, as long as they stood close and did not argue."),
    ("a little boat without a name", '"A boat needs one to row and one to steer," said {w}.',
     "So one rowed and the other steered, and the boat got both their names, one on each side."),
    ("an enormous pumpkin", '"It is too heavy for either of you," said {w}. "Make soup, and invite me."',
     "The soup fed the whole village, and they kept the pips for next year."),
    ("a bottle with a letter in it", '"One of you may open the bottle," said {w}, "and the other may read the letter."',
     "The letter said: Whoever finds this, please share it. They looked at each other and laughed."),
    ("a puppet with a golden crown", '"A king needs a hand, and he needs a voice," said {w}.',
     "So one moved the king and the other spoke for him, and the whole market square came to watch."),
)  # fmt: skip

PROJECTS = (
    ("build a raft", "The first raft sank before lunch.", "The second one floated, but only upside down.",
     "Use empty barrels", "The third raft carried both of them right across the pond, and a frog as well."),
    ("bake a cake as tall as a chair", "The first cake came out as flat as a plate.",
     "The second one was tall for a moment, and then it sighed and lay down.",
     "Bake six small cakes and put them on top of one another", "It stood like a tower, and everybody got a floor."),
    ("write a song for the summer feast", "The first song had words but no tune.",
     "The second one had a tune but no words.", "Listen to the windmill for a while",
     "The sails creaked a fine slow beat, and in the evening the whole village sang to it."),
    ("knit a hat for Marmalade the donkey", "The first hat had no room for the ears.",
     "The second one had room for the ears and for nothing else.", "Measure him while he stands and sighs",
     "The third hat fitted so well that Marmalade forgot to sigh until supper."),
    ("teach Captain the parrot to say please", "On Monday Captain said nothing at all.", "On Tuesday he said no.",
     "Say it at breakfast, because that is when he listens", "On Wednesday Captain said please eleven times."),
    ("paint a picture of the sea", "The first picture looked like a blanket.", "The second one looked like soup.",
     "Sit closer, until your feet are wet", "The third picture was so good that a gull tried to land on it."),
    ("build a house for the swallows", "The first house had no door.", "The second one had a door, but at the bottom.",
     "Ask a swallow", "The third house was small, round and made of mud, and three families wanted it."),
    ("catch the moon in a bucket", "The first bucket had a hole in it.", "In the second one there was only a cloud.",
     "Fill it with water and wait", "At midnight the moon lay in the bucket, a little wobbly, until dawn."),
)  # fmt: skip

WISE = (ANIMALS["Professor"], ANIMALS["Moss"], PEOPLE["Lev"], PEOPLE["Miss Okoro"], PEOPLE["Granny Pell"])
Paragraphs = Sequence[Sequence[str | Sequence[str]]]


def lost(digits: Digits) -> tuple[dict[str, Any], Paragraphs]:
    """A treasure is gone; an animal helps to look for it."""
    hero = digits.pick([person for person in PEOPLE.values() if person.own in SMALL])
    place = digits.pick([place for place in PLACES.values() if place is not hero.place])
    friend = digits.pick(list(ANIMALS.values()))
    cast = {"h": hero, "f": friend, "p": place, "spot": digits.pick(place.spots), "day": digits.pick(DAY)}
    return cast, (
        (OPENING, ("More than anything {h.they} loved {h.their} {h.own}.",
                   "{h.They} would not have given {h.their} {h.own} for a whole ship.")),
        (("{day} the {h.own} was gone.", "{day} {h} reached for the {h.own}, and it was not there."),
         ("{h.They} looked under the bed, behind the door and inside both boots.",
          "{h.They} looked in the cupboard, in the garden and even in the soup.",
          "{h.They} turned out every pocket and found three crumbs and a button.",
          "{h.They} looked wherever it ought to be, and then wherever it ought not to be.")),
        (("Along came {f.full}, who {f.habit}.", "{f.full} saw {h.their} long face and came nearer."),
         '"Where were you yesterday?" asked {f}. "I was {p.at}," said {h}.',
         ("So off they went to {p}. {p.fact}", "They went there together. {p.fact}"),
         "{f} {f.search}.",
         ("And there was the {h.own}, {spot}!", '"Look!" cried {f}. The {h.own} was lying {spot}.')),
        (("Somebody had put it down to tie a shoe.", "A magpie had been admiring it all night.", ""), THANKS,
         ("That night the {h.own} slept beside {h.their} pillow.", "After that {h} always looked twice before leaving.",
          "The next day they looked for something that {f} had lost.", "")),
    )  # fmt: skip


def birthday(digits: Digits) -> tuple[dict[str, Any], Paragraphs]:
    """A present must be fetched from the one who makes it, and the way back is hard."""
    hero = digits.person()
    friend = digits.pick([p for p in PEOPLE.values() if p is not hero and BEST_MAKER[p.likes] is not hero])
    maker = BEST_MAKER[friend.likes]
    cast = {"h": hero, "f": friend, "m": maker}
    return cast, (
        (OPENING, ("It was nearly the birthday of {f.full}, and {f} loved {f.likes} more than anything.",
                   "{h.Their} best friend was {f.full}, and tomorrow was {f}'s birthday.",
                   'One day {f}, who lived {f.home}, said, "It is my birthday tomorrow, and I want {f.likes}."')),
        (("{m.full} had the best {f.likes} in Tansy Bay.", "Nobody had better {f.likes} than {m.full}."),
         ("So {h} walked to {m.place} and knocked.", "So {h} went to see {m}, who lived {m.home}."),
         ("{h} swept the floor for an hour and got {f.treat} for it.",
          '"It is for {f}," said {h}, and {m} gave {h.them} {f.treat} for nothing.',
          "{m} filled a basket, and {h} had {f.treat} to carry home.")),
        (digits.pick(OBSTACLES),),
        (("The next day {f} opened the door and saw {h} with {f.treat}.",
          "In the morning {h} stood at {f}'s door with {f.treat}."),
         ('"How did you know?" cried {f}. "Everybody knows that you love {f.likes}," said {h}.',
          "{f} was so happy that {f.they} forgot to say anything at all.",
          '"Sit down," said {f}. "A birthday is too big for one person."'),
         ("They shared it down to the last bit.", "It was the best birthday in Tansy Bay that week.", "")),
    )  # fmt: skip


def trouble(digits: Digits) -> tuple[dict[str, Any], Paragraphs]:
    """Something is wrong, and somebody in Tansy Bay owns the very thing that helps."""
    name, problem, attempt, fix = digits.pick(TROUBLES)
    owner = PEOPLE[name]
    hero = digits.person(owner)
    cast = {"h": hero, "o": owner, "f": owner, "k": digits.person(owner, hero), "day": digits.pick(DAY)}
    return cast, (
        (OPENING,),
        (("{day} there was trouble.", "{day} {h} heard a call for help.", "{day} {k} came running."), problem, attempt),
        (("Then {h} remembered {o}, who lived {o.home} and owned {o.a_own}.",
          '"What we need is {o.a_own}," said {k}. And who in Tansy Bay owned {o.a_own}? {o} did.',
          '"{o} has {o.a_own}," said {k}, and {h} ran to {o.place}.'), fix),
        (("Everybody cheered.", '"Next time," said {o}, "ask me first."', "It was a near thing.", ""), THANKS),
    )  # fmt: skip


def fear(digits: Digits) -> tuple[dict[str, Any], Paragraphs]:
    """Somebody is afraid, and a friend knows a trick."""
    hero = digits.person()
    friend = digits.pick([person for person in PEOPLE.values() if person.fear != hero.fear])
    occasion, trick, outcome = FEARS[hero.fear]
    cast = {"h": hero, "f": friend, "p": digits.pick(list(PLACES.values()))}
    return cast, (
        (OPENING, ("There was only one thing that {h.they} feared, and that was {h.fear}.",
                   "{h.They} was brave in most ways, but {h.they} was afraid of {h.fear}.",
                   "{h.They} never told anyone that {h.they} was afraid of {h.fear}.")),
        (occasion, ("{h.Their} knees turned to jelly.", "{h.They} wanted to run home and hide under the bed.",
                    '"Not today," thought {h}. "Please, not today."')),
        (("But {f.full} had come along.", "Luckily {f}, who lived {f.home}, was there too."), trick, outcome),
        (('"Were you never afraid?" asked {h}. "Me? Of {f.fear}," said {f}, "every single time."',
          '"It worked," said {h}, and {h.they} was most surprised of all.',
          "After that {h} was still a little afraid of {h.fear}, but only a little."),
         ("The next day {f}, who loved {f.likes}, found {f.treat} at the door.", "{f} got {f.treat} for it.", "")),
    )  # fmt: skip


def swap(digits: Digits) -> tuple[dict[str, Any], Paragraphs]:
    """The one who has it wants something else for it."""
    hero = digits.person()
    first = BEST_MAKER[hero.likes]
    second = BEST_MAKER[first.likes]
    wish, done = digits.pick(FAVOURS)
    cast = {"h": hero, "k": first, "m": second, "day": digits.pick(DAY)}
    return cast, (
        (OPENING, ("{day} {h.they} wanted {h.likes} and nothing else.", "{day} {h.they} could only think of {h.likes}.",
                   "{h.They} loved {h.likes}, and {h.they} had not tasted any for a month.")),
        (("{k.full} had the best {h.likes} in Tansy Bay.", "So {h} went to {k}, who lived {k.home}."),
         '"You may have {h.treat}," said {k}, "if you bring me {k.treat}."'),
        (("{h} ran to {m.full}, who lived {m.home}.", "For that one had to ask {m}, so {h} ran to {m.place}."),
         ('"Gladly," said {m}, ' + wish[:-1].replace('"first', '"but first') + '."'), done),
        (("The rest was easy. {m} gave {h} {k.treat}, and {k} gave {h} {h.treat}.",
          "So {h} carried {k.treat} to {k} and came home with {h.treat}."),
         ('"It tastes better when you have walked for it," said {h}, and ate until nothing was left.',
          "{h.They} meant to keep half of it for tomorrow, but tomorrow seemed very far away.",
          "On the way home {h.they} met three friends. Only a little was left, but it was a very good little.")),
    )  # fmt: skip


def quarrel(digits: Digits) -> tuple[dict[str, Any], Paragraphs]:
    """Two want one thing."""
    thing, advice, ending = digits.pick(FINDS)
    hero = digits.person()
    wise = digits.pick([one for one in WISE if one is not hero])
    friend = digits.person(hero, wise)
    cast = {"h": hero, "f": friend, "w": wise, "p": digits.pick(list(PLACES.values())), "thing": thing}
    cast["day"] = digits.pick(DAY)
    return cast, (
        (OPENING, ("{h.Their} best friend was {f.full}.", "{h.They} had a friend, {f}, who lived {f.home}.")),
        (("{day} they were {p.at} together. {p.fact}", "{day} they met {p.at}. {p.fact}"),
         ("And there lay {thing}.", "Both of them saw {thing} at the same moment."),
         ('"I saw it first!" cried {h}. "You did not!" cried {f}.', '"It is mine," said {h}. "Mine!" said {f}.'),
         ("They pulled and shouted until the gulls flew away.", "Soon they stood back to back and did not speak.", "")),
        (("Up came {w.full}, who {w.habit}.", "{w.full} had heard it all and shook {w.their} head."), advice, ending),
        (('"I am sorry that I shouted," said {f}. "I shouted more," said {h}.',
          "By evening neither of them could remember who had seen it first.",
          '"Shall we quarrel again tomorrow?" asked {f}. "At ten," said {h}.'),),
    )  # fmt: skip


def secret(digits: Digits) -> tuple[dict[str, Any], Paragraphs]:
    """A strange noise in the night turns out to be an animal with a secret."""
    hero = digits.person()
    friend = digits.person(hero)
    cast = {"h": hero, "f": friend, "s": digits.pick(list(ANIMALS.values()))}
    return cast, (
        (OPENING, ("One night {h.they} could not sleep.", "One night {h.they} woke with a start.",
                   "One night {h.they} walked home late.")),
        ("From {s.place} came {s.noise}.",
         ("{h} ran and woke {f}, who lived {f.home}.", "{h} threw pebbles at {f}'s window until {f.they} came down."),
         ('"It is a ghost," whispered {f}. "Ghosts are quieter," said {h}.', '"Robbers!" said {f}. "Mice," said {h}.'),
         ("They crept closer, with {f}'s {f.own} to protect them.", "They took the {f.own}, just in case.")),
        (("They looked round the corner and held their breath.", "A cloud moved, and the moon came out."),
         ("It was {s.full}!", "It was no ghost. It was only {s.full}."), "{s.secret}",
         ('"Please do not tell anybody," said {s}.', "{s} saw them and blushed down to the feet.")),
        (("They promised, and the next day somebody left {s.treat} there.",
          '"Not a word," said {h}, and {f} went to fetch {s.treat}, because {s} loved {s.likes}.'),
         ("If you hear {s.noise} there at night, walk on and smile.", "Since then the three of them have been friends.",
          "It is hard to keep a secret in Tansy Bay, but they kept this one.")),
    )  # fmt: skip


def make(digits: Digits) -> tuple[dict[str, Any], Paragraphs]:
    """Two tries fail; the third is somebody else's idea."""
    goal, first, second, idea, result = digits.pick(PROJECTS)
    hero = digits.person()
    friend = digits.person(hero)
    cast = {"h": hero, "f": friend, "k": digits.person(hero, friend), "goal": goal, "idea": idea}
    day = cast["day"] = digits.pick(DAY)
    cast["day_low"] = day[0].lower() + day[1:]
    return cast, (
        (OPENING, ("{day} {h.they} decided to {goal}.", '"I am going to {goal}," {h.they} said {day_low}.')),
        (("{h.They} began at once.", "{h.They} drank some tea and began.", '"How hard can it be?" asked {h}.'), first,
         ('"Never mind," said {h}.', "{h} frowned at it and began again.", "{k} laughed, but only a little."), second),
        (("{f.full} came by to see what the noise was about.", "Just then {f} came along, who {f.habit}."),
         '"{idea}," said {f}.', ("{h} thought it was silly, and then tried it.", "So they did it together."), result),
        (THANKS, ("{h} was already thinking about the next thing.", "They sat there until it was dark.", "")),
    )  # fmt: skip


PLOTS = (lost, birthday, trouble, fear, swap, quarrel, secret, make)


def story(seed: int, index: int) -> str:
    """The story with this number: about 130 words in four paragraphs, the same for ever for the same seed and index."""
    digits = Digits(seed, index)
    cast, paragraphs = digits.pick(PLOTS)(digits)
    told = []
    for paragraph in paragraphs:
        slots = [slot if isinstance(slot, str) else digits.pick(slot) for slot in paragraph]
        told.append(" ".join([slot for slot in slots if slot]))
    return "\n\n".join(told).format_map(cast)


def stories(*, seed: int, n_bytes: int) -> Iterator[str]:
    """Stories 0, 1, 2 … until at least `n_bytes` UTF-8 bytes are told; the last one is told to its end."""
    index = told_bytes = 0
    while told_bytes < n_bytes:
        told = story(seed, index)
        yield told
        told_bytes += len(told.encode())
        index += 1


def text(seed: int, n_bytes: int) -> str:
    """The same stories as one text, with two empty lines between them."""
    return "\n\n\n".join(stories(seed=seed, n_bytes=n_bytes)) + "\n"
