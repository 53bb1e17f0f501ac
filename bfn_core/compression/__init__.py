"""Data as a file of the length that the theory says: a BFN's messages, really sent.

`compress` writes down the messages of Alice to Bob with bits-back coding, so that they cost what
L^n says, and `decompress` reads them: nothing is lost. `python -m bfn_core.compression` packs and
unpacks files. constriction does the entropy coding.

A round trip is promised on one computer, with one installation, whatever its number of threads.
What was packed elsewhere is most often read too, and where it is not, the checksum says so: two
processors may round the last digit of a network's output differently, and a single other decision
of the decoder changes all that follows.

Sources: Graves et al. 2023, arXiv 2308.07037, for the messages; Townsend et al. 2019, arXiv
1901.04866 (BB-ANS), and Kingma et al. 2019, arXiv 1905.06845 (Bit-Swap), for bits back.
"""

from bfn_core.compression.codec import Codec, Moment, compress, decompress
from bfn_core.compression.packed import Packed
from bfn_core.compression.stack import Stack

__all__ = ["Codec", "Moment", "Packed", "Stack", "compress", "decompress"]
