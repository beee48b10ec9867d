"""Icons with names and tags from five sets: more concepts than emoji have, for pictor-mini to learn words from.

An icon is left out if its name and tags have all the words of a held-out emoji's name, or one of the keywords that only held-out
emoji have: what is held out is neither drawn nor named. Names of an interface's states and directions are left out, as they
say nothing of what is seen. An icon that is called like an emoji that may be learned is one more drawing of it.
"""

import json
import re
import tarfile

from npm_packages import read_json

GAME_ICONS = ("@iconify-json/game-icons", "1.2.4",
              "sha512-/HDDZxowXgDJcOEwPspUCq5RuDdl25OyZKdtxqqiPJQNTrWIym7r4StLzIVs77DyNzOWWhH5wDqwYR3WHeDfkg==")
LUCIDE = ("lucide-static", "1.62.0",
          "sha512-WBZA/m2PvkFpMGHDtsBck5P2A9G4ehLlYu4GwwICcmEm1BvYVgj00lCDxKRWLlbMlOibLaiwdQ88G5pHkSWgwA==")
TABLER = ("@tabler/icons", "3.51.0",
          "sha512-0pinvPZz7YeX+OSfxuEAbnEPWbocVXW5iU8h5lh41pYG8sZuQfpWECC980lxOT0clGIcNGn8xsBr+zKaRGdA/g==")
MATERIAL = ("@mdi/svg", "7.4.47",
            "sha512-WQ2gDll12T9WD34fdRFgQVgO8bag3gavrAgJ0frN4phlwdJARpE6gO1YvLEMJR0KKgoc+/Ea/A0Pp11I00xBvw==")
PHOSPHOR = ("@phosphor-icons/core", "2.1.1",
            "sha512-v4ARvrip4qBCImOE5rmPUylOEK4iiED9ZyKjcvzuezqMaiRASCHKcRIuvvxL/twvLpkfnEODCOJp5dM4eZilxQ==")
SETS = (GAME_ICONS, LUCIDE, TABLER, MATERIAL, PHOSPHOR)

MOST_WORDS = 3
STATES = set("""
    off on plus minus check cancel edit cog search share pin x alert remove add arrow arrows up down left right top bottom outline
    circle square box variant brand logo lock unlock multiple settings question exclamation pause play stop slash badge sync refresh
    in out start end vertical horizontal sort filter export import upload download transfer move rotate resize expand collapse align
    toggle simple fill filled duotone bold thin small large alt code dashed dotted half api css html js sql www http google apple
    microsoft github twitter facebook android windows account file folder page layout border format letter number alpha numeric
    currency gesture cursor selection select set unset a b c d e f g h i j k l m n o p q r s t u v w y z
""".split())
# Categories of Tabler and Phosphor and tags of Material that show things.
SHUNNED = {"arrows", "brand", "brands", "letters", "numbers", "text", "design", "version control", "logic", "database", "charts",
           "math", "currencies", "editor", "system", "shapes", "development", "technology & development", "extensions",
           "brand / logo", "arrow", "form", "text / content / format", "developer / languages", "alpha / numeric", "alert / error",
           "account / user", "files / folders", "edit / modify", "notification", "math & finance", "symbols", "zodiac", "flags",
           "mood", "emoji", "gender", "geographic information system", "shape", "currency", "view", "tooltip", "banking"}


def words_of(text):
    """Words without plural endings."""
    found = re.findall(r"[a-z0-9]+", text.lower())
    return {word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in found}


def shows_something(name, categories):
    words = name.split("-")
    return (len(words) <= MOST_WORDS and not STATES & set(words) and not any(word.isdigit() for word in words)
            and not {category.lower() for category in categories} & SHUNNED)


def files_of(archive, pattern):
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            found = re.fullmatch(pattern, member.name)
            if member.isfile() and found:
                yield found[1], tar.extractfile(member).read().decode()


def icons_of(archives):
    """All icons as set, name, tags, categories, SVG text."""
    data = read_json(archives[GAME_ICONS], "package/icons.json")
    side = data.get("height", 512)
    for name, icon in data["icons"].items():
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {icon.get("width", side)} {icon.get("height", side)}">{icon["body"]}</svg>'
        yield "game-icons", name, [], [], svg
    tags = read_json(archives[LUCIDE], "package/tags.json")
    for name, svg in files_of(archives[LUCIDE], r"package/icons/([a-z0-9-]+)\.svg"):
        yield "lucide", name, tags.get(name, []), [], svg
    about = read_json(archives[TABLER], "package/icons.json")
    for name, svg in files_of(archives[TABLER], r"package/icons/outline/([a-z0-9-]+)\.svg"):
        entry = about.get(name, {})
        yield "tabler", name, entry.get("tags", []), [entry.get("category", "")], svg
    about = {entry["name"]: entry for entry in read_json(archives[MATERIAL], "package/meta.json")}
    for name, svg in files_of(archives[MATERIAL], r"package/svg/([a-z0-9-]+)\.svg"):
        entry = about.get(name, {})
        aliases = [alias.replace("-", " ") for alias in entry.get("aliases", []) if shows_something(alias, [])]
        yield "material", name, aliases, entry.get("tags", []), svg
    with tarfile.open(archives[PHOSPHOR], "r:gz") as tar:
        module = next(tar.extractfile(member).read().decode() for member in tar if member.name.endswith("dist/index.mjs"))
    # The tags stand in a script, which is read and not run.
    entries = re.findall(r'name: "([a-z0-9-]+)".*?categories: \[(.*?)\].*?tags: \[(.*?)\]', module, re.DOTALL)
    category = dict(re.findall(r'i\.([A-Z]+) = "([^"]+)"', module))
    phosphor = {name: (categories, re.findall(r'"([^"]+)"', found)) for name, categories, found in entries}
    for name, svg in files_of(archives[PHOSPHOR], r"package/assets/duotone/([a-z0-9-]+)-duotone\.svg"):
        categories, found = phosphor.get(name, ("", []))
        categories = [category.get(word, "") for word in re.findall(r"\.([A-Z]+)", categories)]
        yield "phosphor", name, [tag for tag in found if not tag.startswith("*")], categories, svg


def keep_out(concepts, sides):
    """Words of names, and keywords, that no icon may have."""
    names, held_out, learned = [], set(), set()
    for concept, about in concepts.items():
        keywords = {keyword.lower() for keyword in about["keywords"]} | {about["name"].lower()}
        if sides[concept] == "train":
            learned |= keywords
        else:
            names.append(frozenset(words_of(about["name"])))
            held_out |= keywords
    return names, held_out - learned


def icon_items(archives, folder, concepts, families, sides):
    """Writes SVG files and gives their table for `rasterise`, and the items."""
    names, keywords = keep_out(concepts, sides)
    by_name = {" ".join(sorted(words_of(about["name"]))): concept for concept, about in concepts.items() if sides[concept] == "train"}
    jobs, items, n_held_out = [], [], 0
    for vendor, name, tags, categories, svg in icons_of(archives):
        if not shows_something(name, categories):
            continue
        text = name.replace("-", " ")
        tags = list(dict.fromkeys(tag.lower() for tag in map(str, tags) if 2 < len(tag) < 40 and not tag.isdigit()))
        words = words_of(" ".join([text, *tags]))
        if any(held_out <= words for held_out in names) or keywords & {text, *tags}:
            n_held_out += 1
            continue
        joined = by_name.get(" ".join(sorted(words_of(text))))
        concept = joined or "icon-" + "-".join(sorted(words_of(text)))
        path = folder / "svg" / f"{vendor}-{name}.svg"
        path.write_text(svg.replace("currentColor", "#000"))
        file = f"{vendor}-{name}.png"
        jobs.append((path, folder / file))
        items.append({
            "id": f"{vendor}/{name}",
            "image": file,
            "texts": {"name": text},
            "payload": {
                "vendor": vendor, "style": vendor, "code": name, "concept": concept, "toneless": True, "tone": "none",
                "family": families[joined] if joined else concept, "kind": "icon", "flippable": True, "group": "Icons",
                "name": concepts[joined]["name"] if joined else text,
                "keywords": concepts[joined]["keywords"] if joined else tags, "split": "train",
            },
        })
    print(f"{len(items)} icons of {len({item['payload']['concept'] for item in items})} concepts; {n_held_out} left out for held-out emoji")
    return jobs, items
