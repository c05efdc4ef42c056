"""API keys in the books: shown once, stored as a hash, revoked for good."""

import os
import stat

import pytest

from farthing.api.keys import (
    create_first_key,
    create_key,
    list_keys,
    revoke_key,
    tenant_of_key,
)
from farthing.db.secret import load_secret
from farthing.kernel.errors import Corrupt, NotFound, Unauthorized


def test_a_key_speaks_for_its_tenant(books, pepper, tenant_id, now):
    key = create_key(books, pepper, tenant_id, "one", now)
    assert tenant_of_key(books, pepper, key) == tenant_id


def test_the_key_itself_is_nowhere_in_the_books(books, pepper, tenant_id, now):
    key = create_key(books, pepper, tenant_id, "one", now)
    secret = key.split("_")[2]
    with books.read_only(tenant_id) as conn:
        (row,) = conn.execute("SELECT * FROM api_keys").fetchall()
    assert secret not in repr(row)
    assert bytes.fromhex(row["secret_hash"].hex()) != secret.encode()


def test_with_another_pepper_no_key_is_good(books, pepper, tenant_id, now):
    key = create_key(books, pepper, tenant_id, "one", now)
    with pytest.raises(Unauthorized):
        tenant_of_key(books, bytes(32), key)


def test_a_revoked_key_is_refused_and_the_first_revocation_stands(books, pepper, tenant_id, now):
    key = create_key(books, pepper, tenant_id, "one", now)
    (record,) = list_keys(books, tenant_id, "", 10)
    first = revoke_key(books, tenant_id, record.api_key_id, now)
    later = revoke_key(books, tenant_id, record.api_key_id, now.replace(year=2027))
    assert first.revoked_at == later.revoked_at == now
    with pytest.raises(Unauthorized) as caught:
        tenant_of_key(books, pepper, key)
    assert caught.value.code == "invalid_api_key"


def test_a_key_of_another_tenant_cannot_be_seen_or_revoked(books, pepper, tenant_id, now):
    create_key(books, pepper, tenant_id, "one", now)
    (record,) = list_keys(books, tenant_id, "", 10)
    other = tenant_id + 1_000_000
    assert list_keys(books, other, "", 10) == []
    with pytest.raises(NotFound):
        revoke_key(books, other, record.api_key_id, now)


def test_only_the_first_key_of_a_tenant_is_made_by_itself(books, pepper, tenant_id, now):
    first = create_first_key(books, pepper, tenant_id, now)
    assert first is not None
    assert tenant_of_key(books, pepper, first) == tenant_id
    assert create_first_key(books, pepper, tenant_id, now) is None


def test_the_pepper_is_made_once_and_readable_by_its_owner_alone(tmp_path):
    pepper = load_secret(tmp_path / "data")
    assert load_secret(tmp_path / "data") == pepper
    assert len(pepper) == 32
    path = tmp_path / "data" / "secret.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["secret.key"]


def test_a_damaged_pepper_is_named(tmp_path):
    (tmp_path / "secret.key").write_bytes(b"short")
    with pytest.raises(Corrupt):
        load_secret(tmp_path)
