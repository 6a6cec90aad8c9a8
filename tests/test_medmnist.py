"""Loading MedMNIST: contents, downloads that break off or arrive altered, and training on the real thing."""

import hashlib
import re
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from companion.datasets import medmnist
from companion.datasets.medmnist import DownloadError

PNEUMONIA = Path(__file__).resolve().parents[2] / "shared" / "data" / "medmnist" / "pneumoniamnist.npz"
COUNTS = {"train": 5, "val": 2, "test": 3}


def arrays(shape=(28, 28), labels=2, columns=1, **changes) -> dict[str, np.ndarray]:
    """Contents of a file: images (N, *shape) and labels (N, columns) for each subset."""
    rng = np.random.default_rng(0)
    made = {}
    for part, n in COUNTS.items():
        made[f"{part}_images"] = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        made[f"{part}_labels"] = rng.integers(0, labels, (n, columns), dtype=np.uint8)
    return {key: value for key, value in (made | changes).items() if value is not None}


def saved(path: Path, contents: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(path, **contents)
    return path


# Contents

@pytest.mark.parametrize(("name", "stored", "columns", "labels", "expected"), [
    ("pneumoniamnist", (28, 28), 1, 2, (1, 28, 28)),
    ("pathmnist_64", (64, 64, 3), 1, 9, (3, 64, 64)),
    ("nodulemnist3d", (28, 28, 28), 1, 2, (1, 28, 28, 28)),
    ("organmnist3d_64", (64, 64, 64), 1, 11, (1, 64, 64, 64)),
    ("chestmnist", (28, 28), 14, 2, (1, 28, 28)),
    ("retinamnist", (28, 28, 3), 1, 5, (3, 28, 28)),
])
def test_every_kind_of_set(tmp_path, name, stored, columns, labels, expected):
    contents = arrays(stored, labels, columns)
    cases = medmnist.load(saved(tmp_path / f"{name}.npz", contents), "test")
    assert cases.images.shape == (3, *expected) and cases.images.dtype == torch.float32
    values = contents["test_images"].astype(np.float32) / 255
    if expected[0] == 3:
        values = np.moveaxis(values, -1, 1)
    assert torch.equal(cases.images, torch.from_numpy(values).reshape(3, *expected))
    assert cases.images.is_contiguous()
    assert len(cases.classes) == len(medmnist.info(name.split("_")[0])["label"])
    if columns == 1:
        assert cases.labels.tolist() == contents["test_labels"][:, 0].tolist() and cases.labels.dtype == torch.int64
    else:
        assert torch.equal(cases.labels, torch.from_numpy(contents["test_labels"]).float())


def test_classes_and_patients_by_hand(tmp_path):
    path = saved(tmp_path / "pneumoniamnist.npz", arrays())
    parts = [medmnist.load(str(path), subset) for subset in ("train", "val", "test")]
    assert parts[0].classes == ("normal", "pneumonia")
    assert [part.patients.tolist() for part in parts] == [[0, 1, 2, 3, 4], [5, 6], [7, 8, 9]]
    whole = medmnist.load(path, "all")
    assert torch.equal(whole.images, torch.cat([part.images for part in parts]))
    assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))
    assert whole.patients.tolist() == list(range(10))


def test_info_is_that_of_the_package():
    known = medmnist.info("chestmnist")
    assert known["license"].startswith("CC") and known["n_samples"]["test"] == 22433
    assert known["MD5"] == "02c8a6516a18b556561a56cbdd36c4a8"
    with pytest.raises(ValueError, match="no MedMNIST set 'mnist': give one of pathmnist, chestmnist"):
        medmnist.info("mnist")


@pytest.mark.parametrize(("changes", "says"), [
    ({"test_images": None}, r"holds 'test_images', but this one holds \['test_labels', 'train_images'"),
    ({"val_labels": None}, "holds 'val_labels'"),
    ({"test_images": np.zeros((3, 28, 28), np.float32)}, r"float32 of shape \(3, 28, 28\), but must be uint8 of shape "
                                                          r"\(N, H, W\)"),
    ({"test_images": np.zeros((3, 28, 28, 3), np.uint8)}, r"shape \(3, 28, 28, 3\), but"),
    ({"test_images": np.zeros((4, 28, 28), np.uint8)}, "there are 4 test_images, but 3 test_labels"),
    ({"test_labels": np.array([[0], [2], [1]], np.uint8)}, "test_labels run from 0 to 2, but must lie in 0 to 1"),
    ({"test_labels": np.array([[0], [-1], [1]], np.int8)}, "test_labels run from -1"),
    ({"test_labels": np.zeros((3, 1), np.float32)}, "test_labels are float32 of shape"),
    ({"test_labels": np.zeros((3, 2), np.uint8)}, r"shape \(3, 2\), but must be integers of shape \(N, 1\)"),
    ({"test_labels": np.zeros((0, 1), np.uint8)}, r"shape \(0, 1\)"),
    ({"test_labels": np.array([["0"], ["1"], [None]], object)}, "can not be read as an .npz file"),
])
def test_other_contents_are_refused(tmp_path, changes, says):
    path = saved(tmp_path / "pneumoniamnist.npz", arrays(**changes))
    with pytest.raises(ValueError, match=f"^pneumoniamnist.npz: .*{says}"):
        medmnist.load(path, "test")


@pytest.mark.parametrize(("name", "stored", "says"), [
    ("nodulemnist3d", (28, 28), r"\(N, D, H, W\)"), ("pathmnist", (28, 28), r"\(N, H, W, 3\)"),
    ("pathmnist", (28, 28, 4), r"\(N, H, W, 3\)"), ("chestmnist", (28, 28), r"\(N, 14\)"),
])
def test_a_file_must_be_what_its_name_says(tmp_path, name, stored, says):
    with pytest.raises(ValueError, match=f"{name}.npz: .* must be .* of shape {says}"):
        medmnist.load(saved(tmp_path / f"{name}.npz", arrays(stored)))


@pytest.mark.parametrize("damage", [lambda raw: raw[:len(raw) // 2], lambda raw: b"", lambda raw: b"text" * 99,
                                    lambda raw: raw[:300] + bytes(200) + raw[500:]])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = saved(tmp_path / "pneumoniamnist.npz", arrays())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="^pneumoniamnist.npz: it can not be read .* cut off or damaged"):
        medmnist.load(path)


def test_a_file_with_any_byte_altered_loads_or_is_refused(tmp_path, generator):
    """The directory at the end of the archive, too."""
    path = saved(tmp_path / "pneumoniamnist.npz", arrays((2, 2)))
    raw = path.read_bytes()
    directory = raw.index(b"PK\x01\x02")
    places = torch.randint(directory, len(raw), (300,), generator=generator).tolist()
    values = torch.randint(0, 256, (300,), generator=generator).tolist()
    said = set()
    for place, value in [(directory, 88), *zip(places, values, strict=True)]:
        path.write_bytes(raw[:place] + bytes([value]) + raw[place + 1:])
        try:
            medmnist.load(path, "all")
        except ValueError as error:
            assert str(error).startswith("pneumoniamnist.npz: ")
            said.add(str(error))
    assert any("Bad magic number for central directory" in message and "Copy it again" in message for message in said)


def test_subsets_of_different_sizes_are_joined_nowhere(tmp_path):
    contents = arrays(val_images=np.zeros((2, 64, 64), np.uint8))
    path = saved(tmp_path / "pneumoniamnist.npz", contents)
    assert medmnist.load(path, "val").images.shape == (2, 1, 64, 64)
    with pytest.raises(ValueError, match="^pneumoniamnist.npz: images of one set have the same size, but those of "
                                         r"train have \(28, 28\) and those of val \(64, 64\): load one subset"):
        medmnist.load(path, "all")


def test_no_file_no_name_no_subset_no_size(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file .*pneumoniamnist.npz"):
        medmnist.load(tmp_path / "pneumoniamnist.npz")
    with pytest.raises(ValueError, match="the name of the file tells its set.*rename it"):
        medmnist.load(saved(tmp_path / "mine.npz", arrays()))
    with pytest.raises(ValueError, match="subset is 'validation', but must be one of train, val, test, all"):
        medmnist.load("pneumoniamnist", "validation")
    with pytest.raises(ValueError, match="no MedMNIST set 'pneumonia'"):
        medmnist.load("pneumonia", folder=tmp_path)
    with pytest.raises(ValueError, match="size is 128, but nodulemnist3d comes in 28, 64"):
        medmnist.load("nodulemnist3d", size=128, folder=tmp_path)


@pytest.mark.parametrize("name", ["PneumoniaMNIST", "pneumoniamnist"])
def test_upper_and_lower_case_are_one(tmp_path, name):
    path = saved(tmp_path / "other.npz", arrays()).rename(tmp_path / f"{name}.NPZ")
    assert len(medmnist.load(path, "val")) == 2
    assert medmnist.info(name) == medmnist.info("pneumoniamnist") == medmnist.info(str(path))


# Downloads

@pytest.fixture
def official(tmp_path, monkeypatch) -> bytes:
    """The bytes of a file that our table of sets names as pneumoniamnist, at an address of this machine."""
    path = saved(tmp_path / "official.npz", arrays())
    offer(monkeypatch, path.read_bytes(), path.as_uri())
    return path.read_bytes()


def offer(monkeypatch, raw: bytes, url: str) -> None:
    md5 = hashlib.md5(raw).hexdigest()
    table = {"pneumoniamnist": {"python_class": "PneumoniaMNIST", "url": url, "MD5": md5, "url_64": f"{url}_64",
                                "MD5_64": md5, "task": "binary-class", "label": {"0": "a", "1": "b"}, "n_channels": 1}}
    monkeypatch.setattr(medmnist, "_sets", lambda: table)


def test_a_download_is_kept_and_not_repeated(tmp_path, monkeypatch, official):
    cases = medmnist.load("pneumoniamnist", "val", folder=tmp_path / "new" / "place")
    assert cases.patients.tolist() == [5, 6]
    assert [p.name for p in (tmp_path / "new" / "place").iterdir()] == ["pneumoniamnist.npz"]
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: pytest.fail("downloaded again"))
    medmnist.load("pneumoniamnist", folder=str(tmp_path / "new" / "place"))


def test_a_download_has_its_own_name_however_it_is_asked_for(tmp_path, official):
    medmnist.load("PneumoniaMNIST", folder=tmp_path / "new")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["pneumoniamnist.npz"]


@pytest.mark.parametrize("more", ["", "cache"])
def test_a_folder_that_is_a_file_is_no_matter_of_the_network(tmp_path, official, more):
    place = saved(tmp_path / "pneumoniamnist.npz", arrays())
    with pytest.raises(ValueError, match=f"folder is {re.escape(str(place / more))}, but .* is a file: give the folder "
                                         "that holds it, or the path of the file in place of the name"):
        medmnist.load("pneumoniamnist", folder=place / more)


def test_downloads_lie_in_the_cache_of_the_data_folder(tmp_path, monkeypatch, official):
    monkeypatch.setenv("COMPANION_DATA", str(tmp_path))
    medmnist.load("pneumoniamnist")
    assert (tmp_path / "cache" / "pneumoniamnist.npz").read_bytes() == official


def test_without_a_network_the_error_says_what_to_put_where(tmp_path, monkeypatch):
    """With the package's own table."""
    def no_network(*args, **kwargs):
        assert kwargs["timeout"] == medmnist.TIMEOUT
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(DownloadError) as caught:
        medmnist.load("pneumoniamnist", folder=tmp_path, size=64)
    for part in ("pneumoniamnist_64.npz could not be downloaded", "Name or service not known",
                 "https://zenodo.org/records/10519652/files/pneumoniamnist_64.npz", "8f4eceb4ccffa70c672198ea285246c6",
                 f"put it at {tmp_path / 'pneumoniamnist_64.npz'}"):
        assert part in str(caught.value)


def test_an_altered_download_does_not_take_the_name(tmp_path, official):
    Path(tmp_path / "official.npz").write_bytes(official[:-1] + b"?")
    with pytest.raises(DownloadError, match="has MD5 .*altered or damaged on its way.*Call again to start anew"):
        medmnist.load("pneumoniamnist", folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("damage", [lambda raw: raw[:-9], lambda raw: raw[:99] + b"?" + raw[100:]])
def test_a_cached_file_that_is_altered_is_neither_used_nor_lost(tmp_path, official, damage):
    path = tmp_path / "pneumoniamnist.npz"
    path.write_bytes(damage(official))
    with pytest.raises(ValueError, match=re.escape(str(path)) + " has MD5 .*altered or cut off.*Move it away"):
        medmnist.load("pneumoniamnist", folder=tmp_path)
    assert path.read_bytes() == damage(official)


class Server(BaseHTTPRequestHandler):
    """Sends ``raw``, or the rest of it that is asked for, but at most ``most`` bytes in an answer."""

    raw, most, ranges, asked = b"", 10 ** 9, True, []

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if start >= len(self.raw):
            return self.send_error(416 if start else 404)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.raw) - start))
        self.end_headers()
        self.wfile.write(self.raw[start:start + self.most])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(official, monkeypatch):
    """A server on this machine from which the set comes; set ``most`` or ``ranges`` on it."""
    handler = type("Handler", (Server,), {"raw": official, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=[0.01])
        thread.start()
        offer(monkeypatch, official, f"http://127.0.0.1:{running.server_port}/pneumoniamnist.npz?download=1")
        yield handler
        running.shutdown()
        thread.join()


@pytest.mark.local
def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path, server):
    server.most = 1000
    for received in (1000, 2000):
        with pytest.raises(DownloadError, match="broke off after 1000 of .* Call again to go on"):
            medmnist.load("pneumoniamnist", folder=tmp_path)
        assert (tmp_path / "pneumoniamnist.npz.partial").stat().st_size == received
        assert not (tmp_path / "pneumoniamnist.npz").exists()
    server.most = 10 ** 9
    assert len(medmnist.load("pneumoniamnist", folder=tmp_path)) == 5
    assert server.asked == [None, "bytes=1000-", "bytes=2000-"]
    assert (tmp_path / "pneumoniamnist.npz").read_bytes() == server.raw
    assert not (tmp_path / "pneumoniamnist.npz.partial").exists()


@pytest.mark.local
def test_a_server_that_sends_no_parts_sends_all_again(tmp_path, server):
    (tmp_path / "pneumoniamnist.npz.partial").write_bytes(b"x" * 500)
    server.ranges = False
    medmnist.load("pneumoniamnist", folder=tmp_path)
    assert (tmp_path / "pneumoniamnist.npz").read_bytes() == server.raw


@pytest.mark.local
def test_a_partial_file_that_is_whole_takes_the_name(tmp_path, server):
    (tmp_path / "pneumoniamnist.npz.partial").write_bytes(server.raw)
    medmnist.load("pneumoniamnist", folder=tmp_path)
    assert server.asked == [f"bytes={len(server.raw)}-"]
    assert (tmp_path / "pneumoniamnist.npz").read_bytes() == server.raw


@pytest.mark.local
def test_a_partial_file_that_is_wrong_is_thrown_away_once(tmp_path, server):
    (tmp_path / "pneumoniamnist.npz.partial").write_bytes(b"x" * 500)
    with pytest.raises(DownloadError, match="altered or damaged"):
        medmnist.load("pneumoniamnist", folder=tmp_path)
    assert len(medmnist.load("pneumoniamnist", folder=tmp_path)) == 5


@pytest.mark.local
def test_an_address_without_the_file(tmp_path, server):
    server.raw = b""
    with pytest.raises(DownloadError, match="could not be downloaded .*404"):
        medmnist.load("pneumoniamnist", folder=tmp_path)


# The real thing

@pytest.mark.skipif(not PNEUMONIA.is_file(), reason="PneumoniaMNIST does not lie beside the repository")
def test_pneumoniamnist_loads_and_trains():
    train, test = medmnist.load(PNEUMONIA), medmnist.load(PNEUMONIA, "test")
    assert (len(train), len(test), train.classes) == (4708, 624, ("normal", "pneumonia"))
    assert torch.bincount(train.labels).tolist() == [1214, 3494] and torch.bincount(test.labels).tolist() == [234, 390]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
                        nn.Flatten(), nn.Linear(16 * 5 * 5, 2))
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=3e-3), []
    loader = DataLoader(train, batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(0))
    for images, labels in chain(loader, loader):
        loss = nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:5])
    with torch.no_grad():
        right = (net(test.images).argmax(1) == test.labels).float().mean()
    assert right > 0.75  # always saying pneumonia is right in 62.5 %
