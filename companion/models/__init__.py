"""Network architectures, one file each, from the parts in ``blocks``.

``MODELS`` maps the name used on the command line to the class. Importing this package imports torch.
"""

from companion.models.small_cnn import SmallCNN, SmallGAPCNN

MODELS = {"small_cnn": SmallCNN, "small_gap_cnn": SmallGAPCNN}
