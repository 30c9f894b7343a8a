"""Where a password comes from, and what is said where it does not come."""

import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blockchain.password import (
    FILE_VARIABLE,
    VARIABLE,
    Password,
    draw_password,
    given_or_new_password,
    given_password,
    is_drawn,
)
from fedward.errors import ResourceError, UsageError

KEYSTORE = Path("identity/account.json")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither variable is set."""
    for name in (VARIABLE, FILE_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def written(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_the_environment_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, " with spaces and ü ")
    assert given_password(KEYSTORE) == " with spaces and ü "
    new = given_or_new_password()
    assert (new.text, new.file, new.made) == (" with spaces and ü ", None, False)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"secret", "secret"),
        (b"secret\n", "secret"),
        (b"secret\r\n", "secret"),
        (b"secret\nmore\n", "secret"),
        (b" sec ret \n", " sec ret "),
        ("\ufeffpass\u2028word\u0085é\n".encode(), "pass\u2028word\u0085é"),
    ],
)
def test_a_files_first_line_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, expected: str
) -> None:
    path = written(tmp_path / "password", content)
    assert given_or_new_password(path).text == expected
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    assert given_password(KEYSTORE) == expected
    new = given_or_new_password()
    assert (new.text, new.file, new.made) == (expected, path, False)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\ufeff"), min_size=1, max_size=200))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_line_comes_back_from_a_file(tmp_path: Path, password: str) -> None:
    assert given_or_new_password(written(tmp_path / "password", password.encode() + b"\n")).text == password


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_reach_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    monkeypatch.setenv(FILE_VARIABLE, str(written(tmp_path / "password", b"secret\n", mode)))
    with pytest.raises(UsageError, match="readable by other users") as refused:
        given_password(KEYSTORE)
    assert "chmod 600" in refused.value.remedy


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\nsecret", "is empty"),
        (b"\r\n", "is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * 5000, "longer"),
    ],
)
def test_a_file_without_a_password_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    path = written(tmp_path / "password", content)
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    for ask in (lambda: given_password(KEYSTORE), given_or_new_password):
        with pytest.raises(UsageError, match=said) as refused:
            ask()
        assert str(path) in str(refused.value)


@pytest.mark.parametrize("name", ["missing", "folder", "a\0b", ""])
def test_a_file_of_the_environment_is_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A wrong name there is a mistake of whoever set it; another password would open nothing."""
    (tmp_path / "folder").mkdir()
    if "\0" in name:
        monkeypatch.setattr("os.environ", {FILE_VARIABLE: name})
    else:
        monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / name) if name else "")
    for ask in (lambda: given_password(KEYSTORE), given_or_new_password):
        with pytest.raises(UsageError, match="could not be read"):
            ask()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_none_given_is_said_with_all_ways_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"identity/account\.json needs its password"):
        given_password(KEYSTORE)
    with pytest.raises(UsageError, match="new keys need a password") as refused:
        given_or_new_password()
    assert all(way in refused.value.remedy for way in ("--password-file", VARIABLE, FILE_VARIABLE))


def test_an_empty_variable_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    for ask in (lambda: given_password(KEYSTORE), given_or_new_password):
        with pytest.raises(UsageError, match="FEDWARD_PASSWORD is empty"):
            ask()


def test_two_ways_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "password", b"secret\n")
    monkeypatch.setenv(VARIABLE, "other")
    with pytest.raises(UsageError, match="Both --password-file and FEDWARD_PASSWORD "):
        given_or_new_password(path)
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    for ask in (lambda: given_password(KEYSTORE), given_or_new_password):
        with pytest.raises(UsageError, match="Both FEDWARD_PASSWORD_FILE and FEDWARD_PASSWORD "):
            ask()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(UsageError, match="Both --password-file and FEDWARD_PASSWORD_FILE "):
        given_or_new_password(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_environment_may_name_the_file_of_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the keys can be made and used under one environment."""
    path = tmp_path / "password"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    made = given_or_new_password(Path("password"))
    assert made.made
    assert given_password(KEYSTORE) == made.text
    assert given_or_new_password(path) == Password(made.text, path)
    monkeypatch.setenv(VARIABLE, "other")
    with pytest.raises(UsageError, match="Both FEDWARD_PASSWORD_FILE and FEDWARD_PASSWORD "):
        given_or_new_password(path)


def test_a_missing_file_is_made_once_with_a_password_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "password"
    made = given_or_new_password(path)
    assert (made.file, made.made) == (path, True)
    assert len(made.text) >= 32
    assert path.read_text() == f"{made.text}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = given_or_new_password(path)
    assert (again.text, again.made) == (made.text, False)
    assert given_or_new_password(tmp_path / "other").text != made.text


def test_a_link_that_leads_nowhere_is_not_taken_for_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "password").symlink_to(tmp_path / "mounted" / "password")
    with pytest.raises(UsageError, match="could not be read"):
        given_or_new_password(tmp_path / "password")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    written(tmp_path / "file", b"")
    with pytest.raises(ResourceError):
        given_or_new_password(tmp_path / "file" / "password")


def test_nothing_shows_it(tmp_path: Path) -> None:
    made = given_or_new_password(tmp_path / "password")
    assert made.text not in repr(made)


def test_drawn_passwords_are_known_again_and_nothing_else_is_taken_for_one() -> None:
    drawn = {draw_password() for _ in range(100)}
    assert len(drawn) == 100
    for password in drawn:
        secret = password.partition(".")[0]
        assert len(secret) == 32, "192 bits"
        assert is_drawn(password)
        for other in (secret, secret + ".", password[1:], password.swapcase(), password + ".", "." + password):
            assert not is_drawn(other)
    for text in ("", ".", "correct horse battery staple", "ü.ü", "a.b.c"):
        assert not is_drawn(text)
