"""What ``companion.datasets.dicom`` refuses in a single file, and how it says so."""

import pickle
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_writer import NAME, ct_slice, header, save
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    BasicTextSRStorage,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from companion.datasets import dicom, dicom_file
from companion.datasets.volume import Volume

BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
OF_A_FOLDER = {"no series", "mixed series", "mixed slices", "grid", "gantry tilt", "duplicate",
               "missing slice"}                       # in test_dicom.py


def cut(path: Path, count: int) -> Path:
    """Take bytes off the end of a file."""
    path.write_bytes(path.read_bytes()[:-count])
    return path


def compressed(syntax, path: Path) -> Path:
    """A file that claims a compression, with nonsense for compressed pixels."""
    file = ct_slice()
    file.file_meta.TransferSyntaxUID = syntax
    file.PixelData = encapsulate([b"nonsense"])
    return save(file, path)


def colour() -> pydicom.Dataset:
    file = ct_slice()
    file.set_pixel_data(np.zeros((3, 4, 3), np.uint8), "RGB", 8)
    return file


def rle(path: Path) -> Path:
    file = ct_slice()
    file.compress(RLELossless)
    return save(file, path)


def broken_header(path: Path) -> Path:
    """The first position is no number."""
    raw = save(ct_slice((1234, 0, 0)), path).read_bytes()
    path.write_bytes(raw.replace(b"1234.0", b"12x4.0"))
    return path


REFUSALS = {
    "path": [lambda p: p / "a.dcm", lambda p: p],
    "not DICOM": [lambda p: (p / "a.dcm").write_text("Scans") and p / "a.dcm", lambda p: BUNDLED / "no_meta.dcm"],
    "no pixel data": [lambda p: save(header(BasicTextSRStorage, Modality="SR"), p / "a.dcm")],
    "truncated": [
        lambda p: cut(save(ct_slice(), p / "a.dcm"), 5),
        lambda p: cut(save(ct_slice(), p / "a.dcm"), 40),
        lambda p: cut(rle(p / "a.dcm"), 30),
    ],
    "damaged": [lambda p: compressed(JPEG2000, p / "a.dcm"), lambda p: compressed(RLELossless, p / "a.dcm"),
                lambda p: compressed(JPEGBaseline8Bit, p / "a.dcm"), lambda p: broken_header(p / "a.dcm")],
    "decoder": [lambda p: compressed(MPEG2MPML, p / "a.dcm")],
    "colour": [lambda p: save(colour(), p / "a.dcm"),
               lambda p: save(ct_slice(PhotometricInterpretation="PALETTE COLOR"), p / "a.dcm")],
    "values": [lambda p: save(ct_slice(BitsAllocated=32), p / "a.dcm"),
               lambda p: save(ct_slice(ModalityLUTSequence=[]), p / "a.dcm"),
               lambda p: save(ct_slice(FloatPixelData=bytes(48)), p / "a.dcm")],
    "modality": [lambda p: save(ct_slice(Modality="US"), p / "a.dcm"),
                 lambda p: save(ct_slice(Modality=None), p / "a.dcm")],
    "projection": [lambda p: save(ct_slice(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), p / "a.dcm"),
                   lambda p: save(ct_slice(ImageType="PROJECTION IMAGE"), p / "a.dcm")],
    "geometry": [
        lambda p: save(ct_slice(ImagePositionPatient=None), p / "a.dcm"),
        lambda p: save(ct_slice(ImagePositionPatient=[1, 2]), p / "a.dcm"),
        lambda p: save(ct_slice(ImageOrientationPatient=None), p / "a.dcm"),
        lambda p: save(ct_slice(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), p / "a.dcm"),
        lambda p: save(ct_slice(ImageOrientationPatient=[0, 0, 0, 0, 0, 0]), p / "a.dcm"),
        lambda p: save(ct_slice(PixelSpacing=None), p / "a.dcm"),
        lambda p: save(ct_slice(PixelSpacing=[1, 0]), p / "a.dcm"),
        lambda p: save(ct_slice(NumberOfFrames=2, PixelData=bytes(48)), p / "a.dcm"),
    ],
    "rescale": [lambda p: save(ct_slice(RescaleSlope=None), p / "a.dcm"),
                lambda p: save(ct_slice(RescaleIntercept=None), p / "a.dcm"),
                lambda p: save(ct_slice(RescaleSlope=0), p / "a.dcm")],
    "thickness": [lambda p: save(ct_slice(SliceThickness=None), p / "a.dcm"),
                  lambda p: save(ct_slice(SliceThickness=-1), p / "a.dcm")],
}


@pytest.mark.parametrize("keep", [140, 160, 170, 300, 460, 667, 700, 1000, 2000, 3000])
def test_an_image_cut_off_in_its_header_is_truncated_not_of_another_kind(tmp_path, keep):
    path = tmp_path / "a.dcm"
    path.write_bytes((BUNDLED / "CT_small.dcm").read_bytes()[:keep])
    with pytest.raises(dicom.DicomError, match="its header ends before it tells the .*Copy the file again") as caught:
        dicom.read(path)
    assert caught.value.reason == "truncated"


def test_every_reason_is_tested():
    assert set(REFUSALS) | OF_A_FOLDER == set(dicom_file.REMEDIES)


@pytest.mark.parametrize(("reason", "make"), [(reason, make) for reason, cases in REFUSALS.items() for make in cases])
def test_a_refusal_names_the_file_the_rule_and_the_remedy(tmp_path, reason, make):
    path = make(tmp_path)
    with pytest.raises(dicom.DicomError) as caught:
        dicom.read(path)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"{path.name}: ")
    assert str(caught.value).endswith(f"{dicom_file.REMEDIES[reason]}.")
    assert not any(part.lower() in str(caught.value).lower() for part in NAME.split("^"))


def test_an_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(dicom_file.refusal("a.dcm", "colour", "rule")))
    assert (type(error), error.reason) == (dicom.DicomError, "colour")
    assert str(error).startswith("a.dcm: rule. Choose")
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(("family", "syntaxes"), [
    ("JPEG-LS", JPEGLSTransferSyntaxes), ("JPEG 2000", JPEG2000TransferSyntaxes), ("JPEG", JPEGTransferSyntaxes),
])
def test_the_packages_named_are_those_that_pydicom_decodes_with(family, syntaxes):
    for syntax in syntaxes:
        assert family in syntax.name
        if "Part 2" in syntax.name:                # no package decodes it
            continue
        known = " ".join(get_decoder(syntax).missing_dependencies)
        assert all(package in known for package in dicom_file.PACKAGES[family].split())


def test_a_missing_decoder_is_named(tmp_path, monkeypatch):
    class Missing:
        is_available = False

    monkeypatch.setattr(dicom_file, "get_decoder", lambda syntax: Missing)
    with pytest.raises(dicom.DicomError, match=r"JPEG-LS Lossless.*\(pip install pyjpegls\)"):
        dicom.read(BUNDLED / "MR_small_jpeg_ls_lossless.dcm")


def test_stored_values_reads_radiographs_too_but_one_frame(tmp_path):
    stored, slope, intercept = dicom.stored_values(BUNDLED / "dicomdirtests" / "77654033" / "CR1" / "6154")
    assert (tuple(stored.shape), slope, intercept) == ((16, 16), 0.684, 200.0)
    file = ct_slice()
    file.set_pixel_data(np.zeros((2, 3, 4), np.uint8), "MONOCHROME2", 8)
    with pytest.raises(dicom.DicomError, match="2 frames, but must hold one"):
        dicom.stored_values(save(file, tmp_path / "a.dcm"))
    with pytest.raises(dicom.DicomError, match="in colour"):
        dicom.stored_values(save(colour(), tmp_path / "a.dcm"))


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.data())
def test_a_damaged_file_loads_or_is_refused(data):
    """Cut a small file anywhere and overwrite bytes of its header: a volume or a ``DicomError``, nothing else."""
    raw = bytearray((BUNDLED / "MR_small_RLE.dcm").read_bytes())
    changes = data.draw(st.lists(st.tuples(st.integers(132, 2000), st.integers(0, 255)), max_size=8))
    for place, value in changes:
        raw[place] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        path.write_bytes(raw[:data.draw(st.integers(0, len(raw)))])
        try:
            assert isinstance(dicom.read(path), Volume)
        except dicom.DicomError as error:
            assert error.reason in dicom_file.REMEDIES
