"""What a change of an emoji can be: the thing, and the person's tone, gender, hair and direction, read from the code sequence.

Two drawings of one vendor with the same base differ in nothing but these, so that a rule such as "same base, gender, hair and
direction, another tone" finds pairs that one phrase leads between. A colour is read from the name where the rest of the name
says one thing (hearts, circles, squares, books, apples, …), and is then no part of the base.
"""

import re

TONES = {"1f3fb": "light", "1f3fc": "medium-light", "1f3fd": "medium", "1f3fe": "medium-dark", "1f3ff": "dark"}
SIGNS = {"2640": "woman", "2642": "man"}
# One code point that says whom it shows: what stands for it in the base, and the gender.
PEOPLE = {
    "1f9d1": ("1f9d1", "person"), "1f468": ("1f9d1", "man"), "1f469": ("1f9d1", "woman"),
    "1f9d2": ("1f9d2", "person"), "1f466": ("1f9d2", "man"), "1f467": ("1f9d2", "woman"),
    "1f9d3": ("1f9d3", "person"), "1f474": ("1f9d3", "man"), "1f475": ("1f9d3", "woman"),
    "1fac5": ("1fac5", "person"), "1f934": ("1fac5", "man"), "1f478": ("1fac5", "woman"),
    "1fac4": ("1fac4", "person"), "1fac3": ("1fac4", "man"), "1f930": ("1fac4", "woman"),
    "1f57a": ("1f483", "man"), "1f483": ("1f483", "woman"),
    "1f385": ("1f9d1-1f384", "man"), "1f936": ("1f9d1-1f384", "woman"),
}
# Two people in one code point, or in several.
PAIRS = {
    "1f46b": ("1f9d1-1f91d-1f9d1", "woman and man"), "1f46c": ("1f9d1-1f91d-1f9d1", "two men"),
    "1f46d": ("1f9d1-1f91d-1f9d1", "two women"), "1f491": ("1f9d1-2764-1f9d1", "two people"),
    "1f48f": ("1f9d1-2764-1f48b-1f9d1", "two people"),
}
TOGETHER = {("man", "man"): "two men", ("woman", "woman"): "two women", ("man", "woman"): "woman and man",
            ("person", "person"): "two people"}
# Code points of pairs that a sign makes two men or two women of.
PLURAL = {"1f46f", "1f93c"}
HAIR = {"1f9b0": "red", "1f9b1": "curly", "1f9b2": "bald", "1f9b3": "white"}
HAIRY = {"1f471": "blond", "1f9d4": "beard"}
COLOURS = ("red", "orange", "yellow", "green", "light blue", "blue", "purple", "pink", "brown", "black", "grey", "white")
COLOURED = re.compile(rf"^(large |small )?({'|'.join(COLOURS)}) (heart|circle|square|large square|book|apple|diamond|question mark|exclamation mark)$")


def who(points):
    """The points of the base, and the genders of all that they show."""
    base, genders = [], []
    for point in points:
        if point in PEOPLE:
            stands_for, gender = PEOPLE[point]
            base.extend(stands_for.split("-"))
            genders.append(gender)
        else:
            base.append(point)
    return base, genders


def hair_of(points):
    for point in points:
        if point in HAIR:
            return HAIR[point], [other for other in points if other != point]
        if point in HAIRY:
            return HAIRY[point], ["1f9d1" if other == point else other for other in points]
    return "none", points


def gender_of(code, points, signs, genders):
    if code in PAIRS:
        return PAIRS[code][1]
    if signs:
        return {"woman": "two women", "man": "two men"}[signs[0]] if points[0] in PLURAL else signs[0]
    if len(genders) == 2:
        return TOGETHER.get(tuple(sorted(genders)), "mixed")
    if len(genders) > 2:
        return "mixed"
    return genders[0] if genders else "none"


def signed_codes(concepts):
    """The codes, without joiners, that have a sign of gender: their first parts show a person who has none."""
    codes = ("-".join(point for point in concept.split("-") if point != "200d") for concept in concepts)
    return {code for code in codes if set(code.split("-")[1:]) & set(SIGNS)}


def changes_of(code, name, signed):
    """The keys of a drawing's payload that rules of changes read; `signed` is what `signed_codes` gives."""
    points = [point for point in code.split("-") if point not in ("200d", "fe0f")]
    tones = [TONES[point] for point in points[1:] if point in TONES]
    points = points[:1] + [point for point in points[1:] if point not in TONES]
    plain = "-".join(points)
    direction = "right" if points[-1] == "27a1" and len(points) > 1 else "none"
    if direction == "right":
        points = points[:-1]
    signs = [SIGNS[point] for point in points[1:] if point in SIGNS]
    points = points[:1] + [point for point in points[1:] if point not in SIGNS]
    hair, without_hair = hair_of(points)
    base, genders = who(without_hair)
    gender = gender_of(plain, points, signs, genders)
    if gender == "none" and not signs and f"{points[0]}-2640" in signed and len(points) == 1:
        gender = "two people" if points[0] in PLURAL else "person"
    if gender == "none" and hair != "none":
        gender = "person"
    base = PAIRS[plain][0] if plain in PAIRS else "-".join(base)
    colour = "none"
    found = COLOURED.fullmatch(name)
    if found:
        colour = found[2]
        base = f"{found[1] or ''}{found[3]}".replace("large square", "square").replace("large ", "").replace(" ", "-")
    elif name == "closed book":
        colour, base = "red", "book"
    return {
        "base": base, "tone": tones[0] if len(set(tones)) == 1 else "mixed" if tones else "none", "gender": gender,
        "hair": hair, "direction": direction, "colour": colour,
    }
