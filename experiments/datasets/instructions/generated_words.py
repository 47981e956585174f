"""Words that the generated tasks are about, by class."""


def _words(text: str) -> tuple[str, ...]:
  return tuple(text.split())


ANIMALS = _words(
  'ant bear bee camel cat cow crab deer dog duck eagle fish fox frog goat hare hen '
  'horse lion mole mouse owl pig rat seal shark sheep snake swan tiger toad wolf'
)
PLANTS = _words(
  'apple bean beet birch cherry clover corn daisy fern fig grape ivy leek lemon lily '
  'maple melon mint moss oak onion pea peach pear pine plum rice rose rye tulip'
)
TOOLS = _words(
  'axe bolt brush chisel clamp drill file fork hammer hoe hook jack knife ladder lever '
  'nail needle pen pliers rake rope ruler saw shovel spade spoon tape wedge'
)
COLOURS = _words('red green blue black white brown pink grey gold teal')
ADJECTIVES = _words(
  'bold brave calm clean cold dark deep dry fast flat hard high kind large late light '
  'long loud low narrow new old poor proud quick rich short slow small soft tall thin '
  'warm weak wide young'
)
# Of regular verbs: the base, so that its past ends in `ed`.
VERBS = _words(
  'ask bark boil call climb cook count fill follow help jump kick knock laugh learn '
  'lift listen look melt open paint pick play pull push rain reach rest shout talk '
  'turn visit wait walk wash watch work'
)
NOUNS = (*ANIMALS, *TOOLS)
WORDS = (*ANIMALS, *PLANTS, *TOOLS, *ADJECTIVES, *VERBS)
OPPOSITES = tuple(
  pair.split('/')
  for pair in _words(
    'hot/cold high/low big/small old/new fast/slow rich/poor hard/soft wet/dry '
    'dark/light long/short early/late open/closed full/empty clean/dirty strong/weak '
    'thick/thin near/far loud/quiet sharp/blunt true/false up/down left/right '
    'first/last sweet/sour wide/narrow deep/shallow rough/smooth brave/timid'
  )
)
PLURALS = {
  **{word: f'{word}s' for word in _words('cat dog cow hen owl pig rat bear duck frog')},
  **{word: f'{word}es' for word in _words('fox brush torch glass box bus dish match')},
  **{'baby': 'babies', 'city': 'cities', 'fly': 'flies', 'lady': 'ladies'},
  **{
    'mouse': 'mice',
    'goose': 'geese',
    'man': 'men',
    'foot': 'feet',
    'child': 'children',
  },
  **{
    word: f'{word}s' for word in _words('lamp river table tree cloud hill road stone')
  },
}
MONTHS = (
  *('January', 'February', 'March', 'April', 'May', 'June', 'July'),
  *('August', 'September', 'October', 'November', 'December'),
)
DAYS = 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
WEEKDAYS = (
  *('Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'),
)
