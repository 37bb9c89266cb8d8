"""Write a bilingual (Persian, English) chat corpus as JSON Lines, the same for the same seed and size.

    python docs/samples/make_corpus.py chat.jsonl [--mib 16] [--seed 7]

Every chat is a few turns about small facts (capitals, colours, opposites, sums, animals, days, translation)
said in many ways. A small model learns it in minutes on a CPU, so that one sees whether training works; the
text teaches nothing else. Needs no library.
"""

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path

CAPITALS = [
    ("Iran", "Tehran", "ایران", "تهران"), ("France", "Paris", "فرانسه", "پاریس"),
    ("Japan", "Tokyo", "ژاپن", "توکیو"), ("Egypt", "Cairo", "مصر", "قاهره"),
    ("Germany", "Berlin", "آلمان", "برلین"), ("Italy", "Rome", "ایتالیا", "رم"),
    ("Spain", "Madrid", "اسپانیا", "مادرید"), ("Turkey", "Ankara", "ترکیه", "آنکارا"),
    ("Iraq", "Baghdad", "عراق", "بغداد"), ("India", "New Delhi", "هند", "دهلی نو"),
    ("China", "Beijing", "چین", "پکن"), ("Russia", "Moscow", "روسیه", "مسکو"),
    ("Greece", "Athens", "یونان", "آتن"), ("Norway", "Oslo", "نروژ", "اسلو"),
    ("Sweden", "Stockholm", "سوئد", "استکهلم"), ("Kenya", "Nairobi", "کنیا", "نایروبی"),
    ("Peru", "Lima", "پرو", "لیما"), ("Cuba", "Havana", "کوبا", "هاوانا"),
    ("Canada", "Ottawa", "کانادا", "اتاوا"), ("Afghanistan", "Kabul", "افغانستان", "کابل"),
    ("Tajikistan", "Dushanbe", "تاجیکستان", "دوشنبه"), ("Armenia", "Yerevan", "ارمنستان", "ایروان"),
    ("Austria", "Vienna", "اتریش", "وین"), ("Poland", "Warsaw", "لهستان", "ورشو"),
]  # fmt: skip
COLOURS = [
    ("the sky", "blue", "آسمان", "آبی"), ("grass", "green", "چمن", "سبز"),
    ("snow", "white", "برف", "سفید"), ("coal", "black", "زغال", "سیاه"),
    ("a ripe tomato", "red", "گوجه‌فرنگی رسیده", "قرمز"), ("a lemon", "yellow", "لیمو", "زرد"),
    ("a carrot", "orange", "هویج", "نارنجی"), ("milk", "white", "شیر", "سفید"),
    ("chocolate", "brown", "شکلات", "قهوه‌ای"), ("an eggplant", "purple", "بادمجان", "بنفش"),
]  # fmt: skip
OPPOSITES = [
    ("big", "small", "بزرگ", "کوچک"), ("hot", "cold", "گرم", "سرد"), ("day", "night", "روز", "شب"),
    ("high", "low", "بلند", "کوتاه"), ("fast", "slow", "تند", "کند"), ("full", "empty", "پر", "خالی"),
    ("old", "new", "کهنه", "نو"), ("light", "dark", "روشن", "تاریک"), ("near", "far", "نزدیک", "دور"),
    ("easy", "hard", "آسان", "سخت"), ("open", "closed", "باز", "بسته"), ("dry", "wet", "خشک", "خیس"),
]  # fmt: skip
ANIMALS = [
    ("cat", "fish", "گربه", "ماهی"), ("cow", "grass", "گاو", "علف"), ("rabbit", "carrots", "خرگوش", "هویج"),
    ("monkey", "bananas", "میمون", "موز"), ("horse", "hay", "اسب", "یونجه"),
    ("panda", "bamboo", "پاندا", "بامبو"),
    ("bee", "nectar", "زنبور", "شهد گل"), ("squirrel", "nuts", "سنجاب", "فندق"),
    ("sheep", "grass", "گوسفند", "علف"), ("mouse", "cheese", "موش", "پنیر"),
]  # fmt: skip
WORDS = [
    ("book", "کتاب"), ("water", "آب"), ("bread", "نان"), ("house", "خانه"), ("tree", "درخت"), ("door", "در"),
    ("moon", "ماه"), ("sun", "خورشید"), ("friend", "دوست"), ("school", "مدرسه"), ("garden", "باغ"),
    ("river", "رود"), ("mountain", "کوه"), ("city", "شهر"), ("rain", "باران"), ("flower", "گل"),
]  # fmt: skip
DAYS_EN = ["Saturday", "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
DAYS_FA = ["شنبه", "یک‌شنبه", "دوشنبه", "سه‌شنبه", "چهارشنبه", "پنج‌شنبه", "جمعه"]
NUMBERS_EN = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
]
NUMBERS_FA = [
    "صفر",
    "یک",
    "دو",
    "سه",
    "چهار",
    "پنج",
    "شش",
    "هفت",
    "هشت",
    "نه",
    "ده",
    "یازده",
    "دوازده",
    "سیزده",
    "چهارده",
    "پانزده",
    "شانزده",
    "هفده",
    "هجده",
]
NAMES_EN = ["Ali", "Sara", "Omid", "Laleh", "Tom", "Anna", "Reza", "Mina", "Jack", "Emma", "Nima", "Ziba"]
NAMES_FA = ["علی", "سارا", "امید", "لاله", "تام", "آنا", "رضا", "مینا", "جک", "اما", "نیما", "زیبا"]
OPENERS_EN = ["", "", "", "Hello! ", "Hi, ", "Please tell me: ", "I have a question. ", "Quick question: "]
OPENERS_FA = ["", "", "", "سلام! ", "لطفاً بگو ", "یک پرسش دارم: ", "ببخشید، "]
CLOSERS_EN = ["", "", "", " Is there anything else?", " I hope that helps.", " Happy to help!"]
CLOSERS_FA = ["", "", "", " پرسش دیگری هم داری؟", " امیدوارم کمک کرده باشد.", " خوشحالم که پرسیدی."]

Turn = tuple[str, str]


def capital(rng: random.Random, english: bool) -> Turn:
    """Ask for a capital."""
    country, city, country_fa, city_fa = rng.choice(CAPITALS)
    if english:
        asked = rng.choice(
            ["What is the capital of {}?", "Which city is capital of {}?", "Name {}'s capital."]
        )
        return asked.format(country), f"The capital of {country} is {city}."
    asked = rng.choice(["پایتخت {} کجاست؟", "پایتخت {} کدام شهر است؟", "نام پایتخت {} را بگو."])
    return asked.format(country_fa), f"پایتخت {country_fa} {city_fa} است."


def colour(rng: random.Random, english: bool) -> Turn:
    """Ask for the colour of a thing."""
    thing, shade, thing_fa, shade_fa = rng.choice(COLOURS)
    if english:
        asked = rng.choice(
            ["What colour is {}?", "Tell me the colour of {}.", "Do you know what {} looks like?"]
        )
        return asked.format(thing), f"{thing[0].upper()}{thing[1:]} is {shade}."
    asked = rng.choice(["{} چه رنگی است؟", "رنگ {} چیست؟", "می‌دانی {} چه رنگی دارد؟"])
    return asked.format(thing_fa), f"{thing_fa} {shade_fa} است."


def opposite(rng: random.Random, english: bool) -> Turn:
    """Ask for an opposite, in both directions."""
    one, other, one_fa, other_fa = rng.choice(OPPOSITES)
    if rng.random() < 0.5:
        one, other, one_fa, other_fa = other, one, other_fa, one_fa
    if english:
        asked = rng.choice(["What is the opposite of {}?", "Give me the opposite of {}."])
        return asked.format(one), f"The opposite of {one} is {other}."
    asked = rng.choice(["متضاد {} چیست؟", "مخالف {} را بگو."])
    return asked.format(one_fa), f"متضاد {one_fa}، {other_fa} است."


def food(rng: random.Random, english: bool) -> Turn:
    """Ask what an animal eats."""
    animal, meal, animal_fa, meal_fa = rng.choice(ANIMALS)
    if english:
        asked = rng.choice(["What does a {} eat?", "What should I feed a {}?"])
        return asked.format(animal), f"A {animal} eats {meal}."
    asked = rng.choice(["{} چه می‌خورد؟", "به {} چه غذایی بدهم؟"])
    return asked.format(animal_fa), f"{animal_fa} {meal_fa} می‌خورد."


def total(rng: random.Random, english: bool) -> Turn:
    """Ask for a sum of two digits, in words."""
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    if english:
        asked = f"How much is {NUMBERS_EN[a]} plus {NUMBERS_EN[b]}?"
        return asked, f"{NUMBERS_EN[a].capitalize()} plus {NUMBERS_EN[b]} is {NUMBERS_EN[a + b]}."
    asked = f"{NUMBERS_FA[a]} به‌علاوهٔ {NUMBERS_FA[b]} چند می‌شود؟"
    return asked, f"{NUMBERS_FA[a]} به‌علاوهٔ {NUMBERS_FA[b]} می‌شود {NUMBERS_FA[a + b]}."


def day(rng: random.Random, english: bool) -> Turn:
    """Ask for the day after or before."""
    at, step = rng.randrange(7), rng.choice([1, -1])
    if english:
        word = "after" if step == 1 else "before"
        answer = f"{DAYS_EN[(at + step) % 7]} comes {word} {DAYS_EN[at]}."
        return f"Which day comes {word} {DAYS_EN[at]}?", answer
    word = "پس از" if step == 1 else "پیش از"
    return f"چه روزی {word} {DAYS_FA[at]} است؟", f"{DAYS_FA[(at + step) % 7]} {word} {DAYS_FA[at]} است."


def translation(rng: random.Random, english: bool) -> Turn:
    """Ask for a word in the other language."""
    word, word_fa = rng.choice(WORDS)
    if english:
        asked = rng.choice(["How do you say {} in Persian?", "What is {} in Persian?"]).format(word)
        return asked, f"In Persian, {word} is «{word_fa}»."
    asked = rng.choice(["{} به انگلیسی چه می‌شود؟", "به انگلیسی به {} چه می‌گویند؟"]).format(word_fa)
    return asked, f"{word_fa} به انگلیسی می‌شود {word}."


def greeting(rng: random.Random, english: bool) -> Turn:
    """Greet by name."""
    at = rng.randrange(len(NAMES_EN))
    if english:
        return f"My name is {NAMES_EN[at]}.", f"Nice to meet you, {NAMES_EN[at]}! How can I help you today?"
    return f"نام من {NAMES_FA[at]} است.", f"از آشنایی با تو خوشحالم، {NAMES_FA[at]}! چه کمکی از من برمی‌آید؟"


TOPICS: list[Callable[[random.Random, bool], Turn]] = [
    capital, colour, opposite, food, total, day, translation, greeting,
]  # fmt: skip


def chat(rng: random.Random, number: int) -> dict[str, object]:
    """Return one record: an id and one to three turns in one language."""
    english = rng.random() < 0.5
    openers, closers = (OPENERS_EN, CLOSERS_EN) if english else (OPENERS_FA, CLOSERS_FA)
    messages: list[dict[str, str]] = []
    for topic in rng.sample(TOPICS, rng.randint(1, 3)):
        asked, answer = topic(rng, english)
        messages.append({"role": "user", "content": rng.choice(openers) + asked})
        messages.append({"role": "assistant", "content": answer + rng.choice(closers)})
    return {"id": f"chat-{number:06d}", "language": "en" if english else "fa", "messages": messages}


def write(path: Path, size: int, seed: int) -> int:
    """Write chats until the file has `size` bytes; return how many records that were."""
    rng, written, number = random.Random(seed), 0, 0
    with path.open("w", encoding="utf-8", newline="\n") as out:
        while written < size:
            line = json.dumps(chat(rng, number), ensure_ascii=False) + "\n"
            out.write(line)
            written += len(line.encode())
            number += 1
    return number


def main() -> None:
    """Read the arguments and write the corpus."""
    parser = argparse.ArgumentParser(description="Write a bilingual chat corpus as JSON Lines.")
    parser.add_argument("path", type=Path, help="file to write")
    parser.add_argument("--mib", type=float, default=16.0, help="size in MiB (default 16)")
    parser.add_argument("--seed", type=int, default=7, help="same seed and size, same bytes (default 7)")
    options = parser.parse_args()
    records = write(options.path, int(options.mib * 1024 * 1024), options.seed)
    print(f"{options.path}: {records} chats, {options.path.stat().st_size / 1024 / 1024:.1f} MiB")


if __name__ == "__main__":
    main()
