"""Loading a folder of images with a table: what comes out, and what is refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from companion.datasets import folder, splits

SQUARE = np.array([[0, 51, 102], [153, 204, 255]], np.uint8)


def save(values, path: Path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def make(place: Path, table: str, **images) -> Path:
    """A folder with a table and PNG images by name; without names those of the table, all alike."""
    names = images or {line.split(",")[0].removesuffix(".png"): SQUARE for line in table.split("\n")[1:] if line}
    for name, values in names.items():
        save(values, place / f"{name}.png")
    (place / "labels.csv").write_text(table, encoding="utf-8")
    return place


def three(place: Path, *tables: str) -> list[Path]:
    """Folders train, val and test with these tables, for ``load_split``."""
    return [make(place / part, table) for part, table in zip(("train", "val", "test"), tables, strict=True)]


def png(values, colour: int) -> bytes:
    """A PNG of 16 bits, which Pillow does not write in colour; (H, W, C) values, colour type of the standard."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


# What comes out

def test_labels_patients_and_values_by_hand(tmp_path):
    make(tmp_path, "file,label,patient\nb.png,ill,P7\na.png,healthy,P2\nsub/c.png,ill,P7\n",
         a=SQUARE, b=SQUARE[::-1], **{"sub/c": SQUARE})
    cases = folder.load(str(tmp_path))
    assert cases.classes == ("healthy", "ill") and cases.labels.tolist() == [1, 0, 1]
    assert cases.patients.tolist() == [0, 1, 0]
    expected = torch.tensor([[0, 0.2, 0.4], [0.6, 0.8, 1]])
    torch.testing.assert_close(cases.images[1, 0], expected)
    torch.testing.assert_close(cases.images[0, 0], expected.flip(0))
    assert (cases.images.shape, cases.images.dtype, cases.labels.dtype) == ((3, 1, 2, 3), torch.float32, torch.int64)
    assert next(iter(DataLoader(cases, batch_size=3)))[0].is_contiguous()


def test_sixteen_bits_keep_their_steps(tmp_path):
    make(tmp_path, "file,label\na.png,x\n", a=np.array([[0, 1, 65535]], np.uint16))
    torch.testing.assert_close(folder.load(tmp_path).images.flatten(), torch.tensor([0, 1 / 65535, 1]))


@pytest.mark.parametrize(("top", "dtype"), [(255, "u1"), (4095, ">u2"), (65535, ">u2")])
def test_pgm_is_scaled_by_the_largest_number_it_names(tmp_path, top, dtype):
    values = np.array([[0, top // 3, top]], dtype)
    (tmp_path / "a.pgm").write_bytes(b"P5\n3 1\n%d\n" % top + values.tobytes())
    make(tmp_path, "file,label\na.pgm,x\n", **{"../other": SQUARE})
    torch.testing.assert_close(folder.load(tmp_path).images.flatten(), torch.tensor([0, 1 / 3, 1]), atol=2e-5, rtol=0)


def test_jpeg_is_read_nearly_right(tmp_path):
    save(np.full((8, 8), 100, np.uint8), tmp_path / "a.JPG")
    save(np.full((8, 8), 200, np.uint8), tmp_path / "b.jpeg")
    (tmp_path / "labels.csv").write_text("file,label\na.JPG,x\nb.jpeg,y\n")
    means = folder.load(tmp_path).images.mean((1, 2, 3)) * 255
    torch.testing.assert_close(means, torch.tensor([100.0, 200.0]), atol=1, rtol=0)


def test_colour_is_three_channels_where_all_are(tmp_path):
    colour = np.stack([SQUARE, SQUARE // 3, SQUARE * 0], -1)
    images = folder.load(make(tmp_path, "file,label\na.png,x\n", a=colour)).images
    assert images.shape == (1, 3, 2, 3)
    torch.testing.assert_close(images[0, :, 1, 2], torch.tensor([1, 85 / 255, 0]))


def test_numbers_are_ordered_by_value_and_each_image_is_a_patient(tmp_path):
    make(tmp_path, "".join(["file,label,note\n", *(f"{n}.png,{n},text\n" for n in (10, 9, 2))]))
    cases = folder.load(tmp_path)
    assert cases.classes == ("2", "9", "10") and cases.labels.tolist() == [2, 1, 0]
    assert cases.patients.tolist() == [0, 1, 2]


def test_given_classes_fix_the_numbers(tmp_path):
    make(tmp_path, "file,label\na.png,ill\nb.png,healthy\n")
    assert folder.load(tmp_path, classes=["ill", "healthy"]).labels.tolist() == [0, 1]


def test_a_table_as_spreadsheets_write_it(tmp_path):
    make(tmp_path, "file,label\na.png,x\n")
    (tmp_path / "other.csv").write_bytes('\ufefffile, label\r\n"a.png", "Pneumonie, bilatérale"\r\n'.encode())
    assert folder.load(tmp_path, "other.csv").classes == ("Pneumonie, bilatérale",)


def test_a_table_with_semicolons_as_spreadsheets_write_it_where_numbers_have_commas(tmp_path):
    make(tmp_path, "file,label\na.png,x\n")
    (tmp_path / "labels.csv").write_bytes('\ufefffile;label;patient\r\na.png;"x; y, z";P7\r\n'.encode())
    assert folder.load(tmp_path).classes == ("x; y, z",)


def test_a_table_with_tabs(tmp_path):
    make(tmp_path, "file,label\na.png,x\n")
    (tmp_path / "labels.tsv").write_bytes(b"file\tlabel\tpatient\r\na.png\tx, y; z\tP7\r\n")
    assert folder.load(tmp_path, "labels.tsv").classes == ("x, y; z",)


@pytest.mark.parametrize("header", ["file,label,patient ", "file , label,\tpatient", "file,label,patient,Patient Age,,",
                                    'file,label,"patient "', "file,label,patient\xa0"])
def test_spaces_around_the_names_of_columns_are_none_of_them(tmp_path, header):
    more = header.count(",") - 2
    make(tmp_path, f"{header}\na.png,x,P7{',' * more}\nb.png,y,P7{',' * more}\n")
    assert folder.load(tmp_path).patients.tolist() == [0, 0]


def test_several_findings_of_an_image(tmp_path):
    """As in ChestX-ray14."""
    make(tmp_path, "file,label,patient\na.png,Mass|Effusion,1\nb.png,No Finding,1\nc.png,Mass | Mass,2\n")
    cases = folder.load(tmp_path, separator="|")
    assert cases.classes == ("Effusion", "Mass") and cases.labels.dtype == torch.float32
    assert cases.labels.tolist() == [[1, 1], [0, 0], [0, 1]] and cases.patients.tolist() == [0, 0, 1]
    assert folder.load(tmp_path, separator="|", classes=["Mass", "Effusion"]).labels.tolist()[2] == [1, 0]


def test_alpha_is_dropped_where_it_hides_nothing(tmp_path):
    opaque = np.full_like(SQUARE, 255)
    make(tmp_path, "file,label\na.png,x\n", a=np.stack([SQUARE, SQUARE // 3, SQUARE * 0, opaque], -1))
    images = folder.load(tmp_path).images
    assert images.shape == (1, 3, 2, 3)
    torch.testing.assert_close(images[0, :, 1, 2], torch.tensor([1, 85 / 255, 0]))
    Image.fromarray(np.stack([SQUARE, opaque], -1), "LA").save(tmp_path / "a.png")
    torch.testing.assert_close(folder.load(tmp_path).images[0, 0], torch.from_numpy(SQUARE) / 255)


def test_a_photograph_stands_upright(tmp_path):
    """Orientation 6: the camera was held so that the first column stored is the top of what was seen."""
    stored = np.repeat(np.repeat(np.array([[0, 255], [0, 255], [0, 255]], np.uint8), 8, 0), 8, 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(stored, tmp_path / "a.jpg", exif=exif)
    (tmp_path / "labels.csv").write_text("file,label\na.jpg,x\n")
    image = folder.load(tmp_path).images[0, 0]
    assert image.shape == (16, 24) and image[:8].max() < 0.1 and image[8:].min() > 0.9


def test_hidden_files_are_left_aside(tmp_path):
    make(tmp_path, "file,label\na.png,x\n")
    for hidden in ("._a.png", "__MACOSX/._a.png", ".thumbnails/a.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"no image")
    assert len(folder.load(tmp_path)) == 1
    make(tmp_path / ".cache", "file,label\n.b.png,x\n")     # but the path of the folder, and what is listed, may be
    assert len(folder.load(tmp_path / ".cache")) == 1


@pytest.mark.parametrize("size", [4, (4, 4)])
def test_a_size_resizes_all(tmp_path, size, generator):
    noise = (torch.rand(16, 64, generator=generator) * 255).to(torch.uint8)
    make(tmp_path, "file,label\na.png,x\nb.png,y\n", a=noise.numpy(), b=np.full((4, 4), 51, np.uint8))
    images = folder.load(tmp_path, size=size).images
    assert images.shape == (2, 1, 4, 4)
    assert torch.equal(images[1], torch.full((1, 4, 4), 51 / 255))
    assert images[0].std() < 0.3 * (noise / 255).std()  # smoothed as it shrinks: no grey level is picked at random


# What is refused

@pytest.mark.parametrize(("table", "says"), [
    ("file:label\na.png:x\n", r"columns are \['file:label'\], but must be .* commas, semicolons or tabs between"),
    ("File,LABEL\na.png,x\n", r"columns are \['File', 'LABEL'\], but must be named file, label .*, in lower case"),
    ("file;Label;patient\na.png;x;1\n", r"columns are \['file', 'Label', 'patient'\], but .* in lower case"),
    *((f"file,label,{name}\na.png,x,1\n", f"labels.csv: it has no column patient, but '{name}', and without it "
       "nobody knows .*: rename it to patient, or remove it") for name in
      ("Patient", "PATIENT", "patient_id", "Patient ID", "PatientID", "patients", "Patienten-Nr")),
    ("file\tlabel\tPatient ID\na.png\tx\t1\n", "no column patient, but 'Patient ID'"),
    ("file,label,label\na.png,x,y\n", r"the column label is there twice \(label, label\): keep one"),
    ("file,label,patient,patient \na.png,x,1,2\n", r"the column patient is there twice \(patient, patient\)"),
    ("file,label,patient,Patient\na.png,x,1,2\n", r"the column patient is there twice \(patient, Patient\): keep one"),
    ("file,label\na.png,x|y\n", r"line 2: the label 'x\|y' holds '\|': .* give load separator='\|'"),
    ("name,label\na.png,x\n", r"columns are \['name', 'label'\]"),
    ("", r"columns are \[\]"),
    ("file,label\n", "lists no image"),
    ("file,label\na.png,x\na.png,y\n", "a.png is listed twice"),
    ("file,label\na.png,x\nsub/../a.png,y\n", "listed twice"),
    ("file,label\na.png,x\nb.png,y\n", "b.png is listed, but there is no such file"),
    ("file,label\na.png,x\n../a.png,y\n", "listed, but there is no such file in the folder"),
    ("file,label\na.png,x\nb.tif,y\n", "b.tif is listed, but its name ends in none of .png"),
    ("file,label\na.png,\n", "line 2: the label is '', so it is missing"),
    ("file,label\na.png,nan\n", "line 2: the label is 'nan', so it is missing"),
    ("file,label\na.png\n", "line 2: the label is None"),
    ("file,label\n,x\n", "line 2: the file is ''"),
    ("file,label,patient\na.png,x,NA\n", "line 2: the patient is 'NA'"),
    ("file,label\na.png,x,y\n", "line 2: it has more cells"),
])
def test_a_table_that_does_not_fit_is_refused(tmp_path, table, says):
    with pytest.raises(ValueError, match=says):
        folder.load(make(tmp_path, table, a=SQUARE))


@pytest.mark.parametrize(("other", "says"), [
    (SQUARE[:1], r"same \(rows, columns\), but a.png has \(2, 3\) and b.png has \(1, 3\): give load a size"),
    (SQUARE.astype(np.uint16), "same bits per value, but a.png has 8 and b.png has 16"),
    (np.stack([SQUARE] * 3, -1), r"same channels .* a.png has 1 and b.png has 3"),
    (np.stack([SQUARE] * 4, -1), "b.png: it holds .* of kind 'RGBA'.* without transparency"),
    (SQUARE > 9, "b.png: it holds .* of kind '1'"),
])
def test_images_that_do_not_fit_together_are_refused(tmp_path, other, says):
    with pytest.raises(ValueError, match=says):
        folder.load(make(tmp_path, "file,label\na.png,x\nb.png,y\n", a=SQUARE, b=other))


def test_palette_and_animation_are_refused(tmp_path):
    make(tmp_path, "file,label\na.png,x\n")
    Image.fromarray(SQUARE).convert("P").save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="kind 'P'.*palette"):
        folder.load(tmp_path)
    Image.fromarray(SQUARE).save(tmp_path / "a.png", save_all=True, append_images=[Image.fromarray(255 - SQUARE)])
    with pytest.raises(ValueError, match="2 image.*animation"):
        folder.load(tmp_path)


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colour_and_alpha_of_sixteen_bits_are_refused(tmp_path, colour, channels):
    """Pillow would cut them to 8 bits in silence."""
    make(tmp_path, "file,label\na.png,x\n")
    (tmp_path / "a.png").write_bytes(png(np.full((2, 3, channels), 65535), colour))
    with pytest.raises(ValueError, match="^a.png: it is in colour or has alpha, with 16 bits .*: save it"):
        folder.load(tmp_path)
    (tmp_path / "a.png").write_bytes(png(np.array([[[0], [1], [65535]]]), 0))
    torch.testing.assert_close(folder.load(tmp_path).images.flatten(), torch.tensor([0, 1 / 65535, 1]))


@pytest.mark.parametrize("suffix", ["png", "pgm", "jpg"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9])
def test_a_file_that_can_not_be_read_is_refused(tmp_path, generator, suffix, share):
    path = tmp_path / f"a.{suffix}"
    save((torch.rand(32, 32, generator=generator) * 255).to(torch.uint8).numpy(), path)
    (tmp_path / "labels.csv").write_text(f"file,label\na.{suffix},x\n")
    assert folder.load(tmp_path).images.shape == (1, 1, 32, 32)
    path.write_bytes(path.read_bytes()[:int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=f"^a.{suffix}: it can not be decoded.*copy it again"):
        folder.load(tmp_path)


def test_an_image_that_is_not_listed_is_refused(tmp_path):
    make(tmp_path, "file,label\na.png,x\n", a=SQUARE, **{"sub/forgotten": SQUARE, "z": SQUARE})
    with pytest.raises(ValueError, match="2 images of the folder are not listed, such as sub/forgotten.png"):
        folder.load(tmp_path)


def test_classes_without_images_and_labels_without_class_are_refused(tmp_path):
    make(tmp_path, "file,label\na.png,x\nb.png,Y\n")
    with pytest.raises(ValueError, match="class 'z' has no image"):
        folder.load(tmp_path, classes=("x", "Y", "z"))
    with pytest.raises(ValueError, match=r"label 'Y' is none of the classes \['x', 'y'\]"):
        folder.load(tmp_path, classes=("x", "y"))


def test_no_folder_no_table_wrong_letters_wrong_size(tmp_path):
    with pytest.raises(ValueError, match="there is no folder .*nothing: correct the path"):
        folder.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="there is no table .*labels.csv: write one"):
        folder.load(tmp_path)
    make(tmp_path, "file,label\na.png,x\n")
    with pytest.raises(ValueError, match="labels.csv is a file, but must be a folder"):
        folder.load(tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_bytes("file,label\na.png,für\n".encode("latin-1"))
    with pytest.raises(ValueError, match="not in UTF-8: save it as CSV UTF-8"):
        folder.load(tmp_path)
    with pytest.raises(ValueError, match=r"size is \(0, 0\)"):
        folder.load(tmp_path, size=0)


@pytest.mark.parametrize(("label", "separator", "says"), [
    ("x||y", "|", r"line 2: the label is 'x\|\|y', so a finding is missing"),
    ("x|nan", "|", "so a finding is missing"),
    ("x|No finding", "|", r"line 2: the label is 'x\|No finding', a finding and none"),
    ("no finding", "|", "names no finding"),
    ("x", "", "separator is '', but"),
])
def test_findings_that_do_not_fit_are_refused(tmp_path, label, separator, says):
    with pytest.raises(ValueError, match=says):
        folder.load(make(tmp_path, f"file,label\na.png,{label}\n"), separator=separator)


# Train, development and test set in folders of their own

def test_three_folders_make_a_split(tmp_path):
    """Patients are numbered over all three, so that those of one name, and only those, share a number."""
    parts = three(tmp_path, "file,label,patient\na.png,x,P7\nb.png,y,P2\n", "file,label,patient\na.png,y,P3\n",
                  "file,label,patient\na.png,y,P9\nb.png,x,P9\n")
    with pytest.raises(splits.LeakageError):
        splits.Split(*map(folder.load, parts))                           # what load alone can not know
    sets = folder.load_split(*parts)
    assert [part.patients.tolist() for part in sets] == [[0, 1], [2], [3, 3]]
    assert [part.labels.tolist() for part in sets] == [[0, 1], [1], [1, 0]]
    assert {part.classes for part in sets} == {("x", "y")}
    split = splits.Split(*sets)
    assert repr(split) == "Split(train 2, development 1, test 2)"
    assert split.train.images.shape == (2, 1, 2, 3)


def test_three_folders_take_what_load_takes(tmp_path):
    parts = three(tmp_path, "file,label\na.png,x|y\n", "file,label\na.png,y\n", "file,label\na.png,No Finding\n")
    sets = folder.load_split(*map(str, parts), table="labels.csv", size=4, classes=("y", "x"), separator="|")
    assert [part.labels.tolist() for part in sets] == [[[1, 1]], [[1, 0]], [[0, 0]]]
    assert [part.patients.tolist() for part in sets] == [[0], [1], [2]] and sets[2].images.shape == (1, 1, 4, 4)


def test_a_patient_in_two_folders_is_refused_by_name(tmp_path):
    parts = three(tmp_path, "file,label,patient\na.png,x,P7\nb.png,x,P2\n", "file,label,patient\na.png,x,P3\n",
                  "file,label,patient\na.png,x,P2\nb.png,x,P8\n")
    with pytest.raises(ValueError, match=r"1 patients are in train and in test, such as 'P2': put all images of"):
        folder.load_split(*parts)
    with pytest.raises(ValueError, match="patients are in development and in test"):   # without names, by file
        make(tmp_path / "val", "file,label\na.png,x\n")
        folder.load_split(make(tmp_path / "new", "file,label\na.png,x\n"), parts[1], tmp_path / "new" / ".." / "val")


@pytest.mark.parametrize(("table", "says"), [
    ("file,label\na.png,x\n", "val/labels.csv has no column patient, but .*train/labels.csv has: .* all three"),
    ("file,label,patient\na.png,,P3\n", "val/labels.csv, line 2: the label is ''"),
    ("file,label,patient\na.png,z,P3\n", "train/labels.csv: the class 'z' has no image"),
    ("file,label,patient\nb.png,x,P3\n", r"but \S*train/a.png has \(2, 3\) and \S*val/b.png has \(1, 3\)"),
])
def test_folders_that_do_not_fit_together_are_refused(tmp_path, table, says):
    parts = three(tmp_path, "file,label,patient\na.png,x,P1\n", table, "file,label,patient\na.png,x,P2\n")
    if (parts[1] / "b.png").exists():
        save(SQUARE[:1], parts[1] / "b.png")
    with pytest.raises(ValueError, match=says):
        folder.load_split(*parts)
