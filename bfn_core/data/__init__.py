"""Data: toy mixtures; MNIST, CIFAR-10 and text8, and what stands in for them offline; folders of
images, tables, and texts of one's own.
"""

from bfn_core.data.assets import asset, drawn_digits, record
from bfn_core.data.files import DataError, NoNetwork, data_dir
from bfn_core.data.images import (
    Images,
    StandInWarning,
    binarise,
    cifar10,
    folder,
    mnist,
    photographs,
    quantise,
    shades,
    to_bytes,
)
from bfn_core.data.pictures import Pictures, pictures
from bfn_core.data.tables import Column, Table, read_table
from bfn_core.data.text import (
    ALPHABET,
    Text,
    alphabet_of,
    decode,
    encode,
    normalise,
    text8,
    text_file,
)
from bfn_core.data.vocabulary import spelling, words

__all__ = [
    "ALPHABET",
    "Column",
    "DataError",
    "Images",
    "NoNetwork",
    "Pictures",
    "StandInWarning",
    "Table",
    "Text",
    "alphabet_of",
    "asset",
    "binarise",
    "cifar10",
    "data_dir",
    "decode",
    "drawn_digits",
    "encode",
    "folder",
    "mnist",
    "normalise",
    "photographs",
    "pictures",
    "quantise",
    "read_table",
    "record",
    "shades",
    "spelling",
    "text8",
    "text_file",
    "to_bytes",
    "words",
]
