"""The tasks of the generated collection: what is asked, and the right answer.

Every task has a function and words of its own; the categories are ours.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.datasets.instructions import generated_words as words

Random = np.random.Generator
Asked = tuple[str, str]  # input and output


@dataclasses.dataclass(frozen=True)
class Rule:
  """A task that can be asked again and again.

  Attributes:
    name: of the task.
    category: that it belongs to.
    definition: what is to be done, in one sentence or two.
    make: draws an input, and answers it.
    language: of the output.
  """

  name: str
  category: str
  definition: str
  make: Callable[[Random], Asked]
  language: str = 'English'


def one(random: Random, of: Any) -> Any:
  """One of a sequence."""
  return of[random.integers(len(of))]


def some(random: Random, of: Any, least: int, most: int) -> list[Any]:
  """Several different ones of a sequence, in random order."""
  count = random.integers(least, most + 1)
  return [of[i] for i in random.choice(len(of), count, replace=False)]


def _of_word(function: Callable[[str], Any]) -> Callable[[Random], Asked]:
  def make(random: Random) -> Asked:
    word = one(random, words.WORDS)
    return word, str(function(word))

  return make


def _of_list(function: Callable[[list[str]], Any]) -> Callable[[Random], Asked]:
  def make(random: Random) -> Asked:
    found = some(random, words.WORDS, 3, 5)
    return ', '.join(found), str(function(found))

  return make


def _of_text(function: Callable[[str], str]) -> Callable[[Random], Asked]:
  def make(random: Random) -> Asked:
    text = ' '.join(some(random, words.WORDS, 2, 3))
    return text, function(text)

  return make


def _of_numbers(
  count: int, most: int, function: Callable[..., Any]
) -> Callable[[Random], Asked]:
  def make(random: Random) -> Asked:
    numbers = [int(n) for n in random.integers(1, most, count)]
    return ' '.join(map(str, numbers)), str(function(*numbers))

  return make


def _of_pair(pairs: Any, swap: bool = False) -> Callable[[Random], Asked]:
  def make(random: Random) -> Asked:
    pair = one(random, pairs)
    return (pair[1], pair[0]) if swap else (pair[0], pair[1])

  return make


def _opposite(random: Random) -> Asked:
  pair = one(random, words.OPPOSITES)
  return (pair[0], pair[1]) if random.integers(2) else (pair[1], pair[0])


def _letter_count(random: Random) -> Asked:
  word = one(random, words.WORDS)
  letter = one(random, word) if random.integers(3) else one(random, 'aeiorst')
  return f'{letter} in {word}', str(word.count(letter))


def _nth(random: Random) -> Asked:
  found = some(random, words.WORDS, 3, 5)
  place = int(random.integers(len(found)))
  return f'{place + 1}: {", ".join(found)}', found[place]


def _next(names: Any, steps: int) -> Callable[[Random], Asked]:
  def make(random: Random) -> Asked:
    place = int(random.integers(len(names)))
    return names[place], names[(place + steps) % len(names)]

  return make


def _class(random: Random) -> Asked:
  kinds = {'animal': words.ANIMALS, 'plant': words.PLANTS, 'tool': words.TOOLS}
  kind = one(random, tuple(kinds))
  return one(random, kinds[kind]), kind


def _part_of_speech(random: Random) -> Asked:
  kinds = {'noun': words.NOUNS, 'verb': words.VERBS, 'adjective': words.ADJECTIVES}
  kind = one(random, tuple(kinds))
  return one(random, kinds[kind]), kind


def _colour(random: Random) -> Asked:
  colour = one(random, words.COLOURS)
  return f'the {colour} {one(random, words.NOUNS)}', colour


def _is_living(random: Random) -> Asked:
  living = bool(random.integers(2))
  pool = (*words.ANIMALS, *words.PLANTS) if living else words.TOOLS
  return one(random, pool), 'yes' if living else 'no'


def _replaced(random: Random) -> Asked:
  word = one(random, words.WORDS)
  old, new = one(random, word), one(random, 'xyzq')
  return f'{word}: {old} to {new}', word.replace(old, new)


def _without(random: Random) -> Asked:
  word = one(random, words.WORDS)
  letter = one(random, word)
  return f'{word} without {letter}', word.replace(letter, '')


def _joined(random: Random) -> Asked:
  first, second = some(random, words.WORDS, 2, 2)
  return f'{first} {second}', first + second


def _same(random: Random) -> Asked:
  first, second = some(random, words.WORDS, 2, 2)
  same = bool(random.integers(2))
  return f'{first} | {first if same else second}', 'same' if same else 'different'


def _contains(random: Random) -> Asked:
  word = one(random, words.WORDS)
  letter = one(random, word) if random.integers(2) else one(random, 'abcdefghijklmnop')
  return f'{word}? {letter}', 'true' if letter in word else 'false'


def _earlier(random: Random) -> Asked:
  pair = some(random, words.WORDS, 2, 2)
  return ' or '.join(pair), min(pair)


def _longer(random: Random) -> Asked:
  while True:
    pair = some(random, words.WORDS, 2, 2)
    if len(pair[0]) != len(pair[1]):
      return ' / '.join(pair), max(pair, key=len)


def _sorted_numbers(reverse: bool) -> Callable[[Random], Asked]:
  def make(random: Random) -> Asked:
    numbers = [int(n) for n in random.choice(99, random.integers(3, 5), replace=False)]
    put = ' '.join(map(str, sorted(numbers, reverse=reverse)))
    return ' '.join(map(str, numbers)), put

  return make


def _sorted_words(random: Random) -> Asked:
  found = some(random, words.WORDS, 3, 4)
  return '; '.join(found), '; '.join(sorted(found))


def _sorted_letters(random: Random) -> Asked:
  word = one(random, words.WORDS)
  return word, ''.join(sorted(word))


def _by_length(random: Random) -> Asked:
  while True:
    found = some(random, words.WORDS, 3, 3)
    if len({len(word) for word in found}) == len(found):
      return ' < '.join(found), ' < '.join(sorted(found, key=len))


def _named(language: str, back: bool = False) -> Callable[[Random], Asked]:
  def make(random: Random) -> Asked:
    from num2words import num2words  # an optional dependency of its own data

    number = int(random.integers(1, 100))
    name = str(num2words(number, lang=language))
    return (name, str(number)) if back else (str(number), name)

  return make


def _translated(random: Random) -> Asked:
  from num2words import num2words

  number = int(random.integers(1, 100))
  return str(num2words(number, lang='en')), str(num2words(number, lang='de'))


def _sentence(statement: str, changed: str) -> Callable[[Random], Asked]:
  def make(random: Random) -> Asked:
    noun, verb = one(random, words.NOUNS), one(random, words.VERBS)
    third = f'{verb}es' if verb.endswith(('ch', 'sh')) else f'{verb}s'
    said = {'noun': noun, 'verb': verb, 'third': third}
    return statement.format(**said), changed.format(**said)

  return make


def _days(random: Random) -> Asked:
  place = int(random.integers(12))
  return words.MONTHS[place], str(words.DAYS[place])


def _month_number(random: Random) -> Asked:
  place = int(random.integers(12))
  return str(place + 1), words.MONTHS[place]


def _written_date(random: Random) -> Asked:
  month, day = int(random.integers(12)), int(random.integers(1, 29))
  year = int(random.integers(1950, 2030))
  return f'{day} {words.MONTHS[month]} {year}', f'{year}-{month + 1:02}-{day:02}'


def _year(random: Random) -> Asked:
  month, day = int(random.integers(1, 13)), int(random.integers(1, 29))
  year = int(random.integers(1950, 2030))
  return f'{year}/{month:02}/{day:02}', str(year)


def _weekend(random: Random) -> Asked:
  place = int(random.integers(7))
  return words.WEEKDAYS[place], 'weekend' if place > 4 else 'workday'


def _vowels(text: str) -> str:
  return ''.join(letter for letter in text if letter in 'aeiou')


RULES: tuple[Rule, ...] = (
  *(
    Rule(name, 'spelling', definition, _of_word(function))
    for name, definition, function in (
      ('first_letter', 'Write the first letter of the word.', lambda w: w[0]),
      ('last_letter', 'Write the last letter of the word.', lambda w: w[-1]),
      ('second_letter', 'Which letter of the word is the second?', lambda w: w[1]),
      ('spelled', 'Spell the word, with a blank after every letter.', ' '.join),
      ('backwards', 'Write the word from its end to its start.', lambda w: w[::-1]),
    )
  ),
  *(
    Rule(name, 'lists', definition, _of_list(function))
    for name, definition, function in (
      ('first_item', 'Give the first item of the list.', lambda x: x[0]),
      ('last_item', 'Give the last item of the list.', lambda x: x[-1]),
      (
        'two_items',
        'Give the first two items of the list.',
        lambda x: ', '.join(x[:2]),
      ),
      ('rest', 'Leave out the first item.', lambda x: ', '.join(x[1:])),
    )
  ),
  Rule('nth_item', 'lists', 'Give the item at the place that is named.', _nth),
  *(
    Rule(name, 'strings', definition, _of_text(function))
    for name, definition, function in (
      ('upper_case', 'Change all letters to capital letters.', str.upper),
      ('title_case', 'Let every word start with a capital letter.', str.title),
      ('dashes', 'Put a dash in place of every blank.', lambda t: t.replace(' ', '-')),
    )
  ),
  Rule(
    'replaced', 'strings', 'Put the second letter in place of the first.', _replaced
  ),
  Rule('without', 'strings', 'Delete a letter wherever it is.', _without),
  Rule('joined', 'strings', 'Join the words to a single one.', _joined),
  *(
    Rule(name, 'arithmetic', definition, _of_numbers(count, most, function))
    for name, definition, count, most, function in (
      ('sum', 'Add the numbers.', 2, 20, lambda a, b: a + b),
      ('difference', 'Subtract the second number.', 2, 20, lambda a, b: a - b),
      ('double', 'Multiply by two.', 1, 50, lambda a: 2 * a),
      ('plus_one', 'Say the number that follows.', 1, 99, lambda a: a + 1),
      ('minus_one', 'Say the number before.', 1, 99, lambda a: a - 1),
    )
  ),
  *(
    Rule(name, 'numbers', definition, _of_numbers(count, 100, function))
    for name, definition, count, function in (
      ('largest', 'Choose the largest number.', 3, max),
      ('smallest', 'Choose the smallest number.', 3, min),
      ('parity', 'Is it odd or even?', 1, lambda a: 'odd' if a % 2 else 'even'),
      ('size', 'Up to 50 is small, else big.', 1, lambda a: ('small', 'big')[a > 50]),
    )
  ),
  Rule('next_month', 'dates', 'Name the month after this one.', _next(words.MONTHS, 1)),
  Rule('weekday', 'dates', 'Name the day before.', _next(words.WEEKDAYS, -1)),
  Rule('days', 'dates', 'How many days has the month in a common year?', _days),
  Rule('month_number', 'dates', 'Which month has this number?', _month_number),
  Rule('iso_date', 'dates', 'Rewrite as year-month-day.', _written_date),
  Rule('year', 'dates', 'Keep the year alone.', _year),
  Rule('weekend', 'dates', 'Workday or weekend?', _weekend),
  Rule('kind', 'word_class', 'Is this an animal, a plant or a tool?', _class),
  Rule('part_of_speech', 'word_class', 'Say noun, verb or adjective.', _part_of_speech),
  Rule('colour', 'word_class', 'Find the colour.', _colour),
  Rule('living', 'word_class', 'Does it live? Say yes or no.', _is_living),
  Rule('opposite', 'word_class', 'What is the contrary?', _opposite),
  Rule('english', 'number_names', 'Say the digits in English.', _named('en')),
  Rule('digits', 'number_names', 'Turn the name into digits.', _named('en', True)),
  Rule('german', 'number_names', 'Say the digits in German.', _named('de'), 'German'),
  Rule(
    *('translated', 'number_names', 'Translate from English to German.', _translated),
    language='German',
  ),
  Rule(
    *('negated', 'grammar', 'Deny it.'),
    _sentence('the {noun} can {verb}', 'the {noun} cannot {verb}'),
  ),
  Rule(
    *('question', 'grammar', 'Make it a question.'),
    _sentence('the {noun} will {verb}', 'will the {noun} {verb}?'),
  ),
  Rule(
    *('past', 'grammar', 'Tell it as if it was yesterday.'),
    _sentence('the {noun} {third}', 'the {noun} {verb}ed'),
  ),
  Rule(
    *('plural', 'grammar', 'Form the plural.'),
    _of_pair(tuple(words.PLURALS.items())),
  ),
  Rule(
    *('singular', 'grammar', 'Form the singular.'),
    _of_pair(tuple(words.PLURALS.items()), swap=True),
  ),
  Rule('letters', 'counting', 'How many letters are there?', _of_word(len)),
  Rule(
    *('vowels', 'counting', 'How often is there a vowel?'),
    _of_word(lambda w: len(_vowels(w))),
  ),
  Rule('occurrences', 'counting', 'Count the letter within the word.', _letter_count),
  Rule('items', 'counting', 'What is the size of the enumeration?', _of_list(len)),
  Rule('ascending', 'sorting', 'From low to high, please.', _sorted_numbers(False)),
  Rule('descending', 'sorting', 'From high to low, please.', _sorted_numbers(True)),
  Rule('alphabetical', 'sorting', 'Order as in a dictionary.', _sorted_words),
  Rule(
    'letters_sorted', 'sorting', 'Order what the word consists of.', _sorted_letters
  ),
  Rule('by_length', 'sorting', 'Short before long.', _by_length),
  Rule('same', 'comparison', 'Compare both sides: same or different.', _same),
  Rule('contains', 'comparison', 'True or false: it occurs.', _contains),
  Rule(
    'earlier', 'comparison', 'Decide which comes earlier in a dictionary.', _earlier
  ),
  Rule('longer', 'comparison', 'Decide which has more letters.', _longer),
)
