import os
import sqlite3
import stat
import tempfile
import traceback
from pathlib import Path

import pytest
from map_samples import add_keyframe, contents, create, teach

from vloc_ros.errors import MapError
from vloc_ros.mapping.integrity import check_map
from vloc_ros.mapping.session import SessionKind
from vloc_ros.mapping.store import MapStore


def edit(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_map_is_never_overwritten(tmp_path):
    path = teach(tmp_path / "site.vloc", 2)
    before = path.read_bytes()
    with pytest.raises(MapError, match="exists already: use --append"):
        create(path)
    assert path.read_bytes() == before


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(MapError, match=r"folder .*nowhere does not exist"):
        create(tmp_path / "nowhere" / "site.vloc")
    with pytest.raises(MapError, match="Not a directory"):
        (tmp_path / "file").touch()
        create(tmp_path / "file" / "site.vloc")


@pytest.mark.parametrize("read_only", [False, True])
def test_an_absent_map_is_not_made(tmp_path, read_only):
    with pytest.raises(MapError, match="there is no map at"):
        MapStore.open(tmp_path / "site.vloc", read_only)
    with pytest.raises(MapError, match="cannot be opened"):
        check_map(tmp_path / "site.vloc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("name", ["text", "empty", "folder", "zeros", "foreign", "blank"])
def test_what_is_no_map_is_refused_and_not_changed(tmp_path, name, read_only):
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name == "foreign":
        edit(path, "CREATE TABLE a (b)")
    elif name == "blank":
        edit(path, "VACUUM")
    else:
        path.write_bytes({"text": b"a text file\n" * 500, "empty": b"", "zeros": bytes(8192)}[name])
    before = None if name == "folder" else path.read_bytes()
    with pytest.raises(MapError, match="directory" if name == "folder" else "not a map made by vloc_ros"):
        MapStore.open(path, read_only)
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_schema_is_refused(tmp_path, read_only):
    path = teach(tmp_path / "site.vloc", 2)
    edit(path, "PRAGMA user_version = 5")
    text = "made by a newer vloc_ros: schema 5, this one reads up to 4"
    with pytest.raises(MapError, match=text):
        MapStore.open(path, read_only)
    assert [text in problem.text for problem in check_map(path)] == [True]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE image",
        "ALTER TABLE edge ADD COLUMN extra",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TRIGGER t AFTER INSERT ON edge BEGIN DELETE FROM keyframe; END",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = -5",
    ],
)
def test_foreign_tables_views_and_triggers_are_refused(tmp_path, statement):
    path = teach(tmp_path / "site.vloc", 2)
    edit(path, statement)
    with pytest.raises(MapError, match="its tables are not those of schema"):
        MapStore.open(path)


def test_opening_reads_neither_features_nor_images(tmp_path):
    path = teach(tmp_path / "site.vloc", 3)
    edit(path, "UPDATE features SET points = x'00'", "UPDATE image SET jpeg = x'00'")
    with MapStore.open(path) as store:
        assert len(store.keyframes()) == 3
        with pytest.raises(MapError, match="the features of keyframe s1/k1 fails its checksum"):
            store.features(store.keyframes()[0].id)
        with pytest.raises(MapError, match="the image of keyframe s1/k1 fails its checksum"):
            store.image(store.keyframes()[0].id)


def test_reading_leaves_no_files_beside_the_map(tmp_path):
    path = teach(tmp_path / "site.vloc", 2)
    before = path.read_bytes()
    with MapStore.open(path, read_only=True) as store:
        contents(store)
    assert check_map(path) == []
    assert [file.name for file in tmp_path.iterdir()] == ["site.vloc"] and path.read_bytes() == before


def test_a_writer_uses_the_write_ahead_log_with_a_flush_at_each_checkpoint(tmp_path):
    with create(tmp_path / "site.vloc") as store:
        assert store.database.scalar("PRAGMA journal_mode") == "wal" and store.database.pragma("synchronous") == 1


# The superuser may write anywhere, so these run as nobody.


@pytest.fixture
def open_folder():
    """A folder that every user can reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def as_plain_user(function):
    """Run a function in a child process without the rights of the superuser; returns the text it returns, or its error."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        text = "the child did not finish"
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            text = function()
        except MapError as error:
            text = f"MapError: {error}"
        except BaseException:
            text = traceback.format_exc()
        finally:
            os.write(writer, text.encode()[:60000])
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return text


def lock(folder):
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)


def test_a_map_cannot_be_made_in_a_read_only_folder(open_folder):
    lock(open_folder)
    text = as_plain_user(lambda: str(create(open_folder / "site.vloc")))
    assert text.startswith("MapError") and "Permission denied" in text and "can be written" in text


def test_a_map_in_a_read_only_folder_can_be_read(open_folder):
    path = teach(open_folder / "site.vloc", 3)
    lock(open_folder)

    def read():
        with MapStore.open(path, read_only=True) as store:
            return f"{len(contents(store))} {check_map(path)}"

    with MapStore.open(path, read_only=True) as store:
        assert as_plain_user(read) == f"{len(contents(store))} []"


def test_writing_a_read_only_map_is_refused_at_once(open_folder):
    path = teach(open_folder / "site.vloc", 3)
    lock(open_folder)
    text = as_plain_user(lambda: str(MapStore.open(path)))
    assert text.startswith("MapError") and "read-only" in text and str(path) in text


def test_writing_a_read_only_file_in_an_open_folder_is_refused_at_once(open_folder):
    path = teach(open_folder / "site.vloc", 3)
    path.chmod(0o444)
    open_folder.chmod(0o777)
    text = as_plain_user(lambda: str(MapStore.open(path)))
    assert text.startswith("MapError") and "read-only" in text


def test_a_map_without_permission_to_read_is_refused(open_folder):
    path = teach(open_folder / "site.vloc", 2)
    path.chmod(0)
    for action in (lambda: str(MapStore.open(path, read_only=True)), lambda: str(check_map(path))):
        text = as_plain_user(action)
        assert text.startswith("MapError") and "Permission denied" in text


def test_an_unclosed_map_on_a_read_only_disk_says_what_to_do(open_folder):
    source = create(open_folder / "live.vloc")
    add_keyframe(source, source.begin_session(SessionKind.TEACH, "x"))
    path = open_folder / "copy.vloc"
    path.write_bytes((open_folder / "live.vloc").read_bytes())
    path.with_name("copy.vloc-wal").write_bytes((open_folder / "live.vloc-wal").read_bytes())
    source.close()
    lock(open_folder)
    text = as_plain_user(lambda: str(MapStore.open(path, read_only=True)))
    assert text.startswith("MapError") and "was not closed" in text and "copy.vloc-wal" in text
    open_folder.chmod(0o755)
    for file in (path, path.with_name("copy.vloc-wal")):
        file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert check_map(path) == []


def test_an_empty_log_left_on_a_read_only_disk_does_not_matter(open_folder):
    path = teach(open_folder / "site.vloc", 3)
    path.with_name("site.vloc-wal").touch()
    lock(open_folder)
    assert as_plain_user(lambda: str(check_map(path))) == "[]"
