"""The tested package behind the book *Convolutional neural networks in radiology*.

Importing it does nothing and costs nothing: every idea lives in a module of its own, named after it, and is imported
from there, for example ``from companion.convolution import convolve``.
"""

__version__ = "0.1.0"
