"""The picture of a convolution as a matrix shows each shared weight with its number, and no zeros."""

from collections import Counter

import pytest
import torch

from companion.convolution import convolution_matrix
from companion.plotting import matrix

KERNEL = torch.arange(1.0, 10).view(3, 3)


def test_every_entry_but_zero_carries_its_number():
    left, right = matrix.shared(KERNEL, convolution_matrix(KERNEL, 4, 5)).axes
    assert [t.get_text() for t in left.texts] == list("123456789")
    assert Counter(t.get_text() for t in right.texts) == dict.fromkeys("123456789", 2 * 3)    # 2 x 3 positions


def test_a_number_stands_on_its_entry():
    values = convolution_matrix(KERNEL, 4, 5)
    right = matrix.shared(KERNEL, values).axes[1]
    for letter in right.texts:
        column, row = letter.get_position()
        assert values[row, column] == int(letter.get_text())


def test_equal_entries_have_equal_colours_and_zeros_none():
    values = convolution_matrix(KERNEL, 4, 5)
    left, right = matrix.shared(KERNEL, values).axes
    drawn = right.images[0].get_array()
    assert (drawn.mask == (values == 0).numpy()).all()
    assert left.images[0].get_clim() == right.images[0].get_clim()


def test_a_matrix_with_other_entries_is_refused():
    with pytest.raises(ValueError, match=r"entries \[10.0\], which are not in the kernel"):
        matrix.shared(KERNEL, torch.tensor([[1.0, 10.0]]))
