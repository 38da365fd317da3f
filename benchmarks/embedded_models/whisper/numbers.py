"""Numbers, times and dates as they are said: made for text.py, lower case, without punctuation."""

# ruff: noqa: PLR2004 - places of decimal numbers, and how often each form is said

from random import Random

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = (
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
    *("tenth", "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth"),
    *("seventeenth", "eighteenth", "nineteenth", "twentieth"),
)
P_AND, P_OH = 0.4, 0.12


def cardinal(n: int, rng: Random | None = None) -> str:
    """Say a number from 0 to 99,999; with `rng`, at times with an "and" after the hundreds."""
    words: list[str] = []
    if n >= 1000:
        words += [_below_hundred(n // 1000), "thousand"]
    if n % 1000 >= 100:
        words += [DIGITS[n % 1000 // 100], "hundred"]
    if n % 100 or not words:
        if words and rng and rng.random() < P_AND:
            words.append("and")
        words.append(_below_hundred(n % 100))
    return " ".join(words)


def _below_hundred(n: int) -> str:
    if n < 20:
        return (*DIGITS, *TEENS)[n]
    return f"{TENS[n // 10 - 2]} {DIGITS[n % 10]}" if n % 10 else TENS[n // 10 - 2]


def digits(rng: Random) -> str:
    """Say one to nine digits one by one, zero at times as "oh"."""
    zero = "oh" if rng.random() < P_OH else "zero"
    said = rng.choices((zero, *DIGITS[1:]), k=rng.randint(1, 9))
    return " ".join(said)


def small(rng: Random) -> str:
    """Say a number below a hundred, of which small ones are likelier."""
    return cardinal(rng.choice((rng.randint(1, 12), rng.randint(2, 99), rng.randint(10, 60))))


def number(rng: Random) -> str:
    """Say a number of one to five digits."""
    ranges = ((0, 99), (100, 999), (1000, 9999), (10_000, 99_999))
    return cardinal(rng.randint(*rng.choices(ranges, (3, 3, 3, 1))[0]), rng)


def year(rng: Random) -> str:
    """Say a year."""
    chance = rng.random()
    if chance < 0.5:
        return f"{cardinal(rng.choice((18, 19, 19, 20)))} {cardinal(rng.randint(10, 99))}"
    if chance < 0.7:
        more = f" and {cardinal(rng.randint(1, 25))}" if rng.random() < 0.7 else ""
        return f"two thousand{more}"
    return f"twenty {cardinal(rng.randint(10, 39))}"


def clock(rng: Random) -> str:
    """Say a time of day."""
    hour = cardinal(rng.randint(1, 12))
    part = rng.choice(("five", "ten", "twenty", "twenty five"))
    said = rng.choices(
        (
            f"{hour} o'clock",
            f"{hour} {cardinal(rng.randint(10, 59))}",
            f"{hour} oh {DIGITS[rng.randint(1, 9)]}",
            f"{rng.choice(('half past', 'quarter past', 'quarter to'))} {hour}",
            f"{part} {rng.choice(('past', 'to', 'minutes past', 'minutes to'))} {hour}",
            rng.choice(("noon", "midnight")),
        ),
        (20, 30, 10, 15, 13, 12),
    )[0]
    if said in ("noon", "midnight") or rng.random() > 0.4:
        return said
    when = ("in the morning", "in the afternoon", "in the evening", "at night", "a m", "p m", "p m")
    return f"{said} {rng.choice(when)}"


def date(rng: Random, months: tuple[str, ...], days: tuple[str, ...]) -> str:
    """Say a day of the year, at times with its weekday or its year."""
    month = rng.choice(months)
    day = rng.randint(1, 31)
    ordinal = {30: "thirtieth", 31: "thirty first"}.get(day) or (
        ORDINALS[day - 1] if day <= 20 else f"twenty {ORDINALS[day - 21]}"
    )
    said = rng.choice((f"{month} {ordinal}", f"the {ordinal} of {month}", f"{month} the {ordinal}"))
    weekday = f"{rng.choice(days)} " if rng.random() < 0.3 else ""
    return f"{weekday}{said}" + (f" {year(rng)}" if rng.random() < 0.35 else "")
