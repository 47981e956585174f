"""TIMIT's 61 phones, and the smaller sets that they are folded into.

Models are trained on 61 or 48 phones, and scored on 39.

References:
  Lee and Hon, "Speaker-Independent Phone Recognition Using Hidden Markov Models", 1989.
"""

from collections.abc import Mapping

_VOWELS = 'iy ih eh ey ae aa aw ay ah ao oy ow uh uw ux er ax ix axr ax-h'
_STOPS = 'b d g p t k dx q'
_CLOSURES = 'bcl dcl gcl pcl tcl kcl'
_OTHERS = 'jh ch s sh z zh f th v dh m n ng em en eng nx l r w y hh hv el'
_SILENCES = 'pau epi h#'

PHONES = (
  *_VOWELS.split(),
  *_STOPS.split(),
  *_CLOSURES.split(),
  *_OTHERS.split(),
  *_SILENCES.split(),
)
SILENCE = 'sil'

_TO_48 = {
  **{'ax-h': 'ax', 'axr': 'er', 'hv': 'hh', 'ux': 'uw'},
  **{'nx': 'n', 'em': 'm', 'eng': 'ng'},
  **{closure: 'vcl' for closure in ('bcl', 'dcl', 'gcl')},
  **{closure: 'cl' for closure in ('pcl', 'tcl', 'kcl')},
  **{'pau': SILENCE, 'h#': SILENCE, 'q': ''},
}
_TO_39 = {
  **{'ix': 'ih', 'ax': 'ah', 'ao': 'aa', 'el': 'l', 'en': 'n', 'zh': 'sh'},
  **{'vcl': SILENCE, 'cl': SILENCE, 'epi': SILENCE},
}

# What each of the 61 becomes; '': nothing, as q.
FOLD_48: Mapping[str, str] = {phone: _TO_48.get(phone, phone) for phone in PHONES}
FOLD_39: Mapping[str, str] = {
  phone: _TO_39.get(folded, folded) for phone, folded in FOLD_48.items()
}
