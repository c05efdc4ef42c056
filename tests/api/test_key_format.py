"""API keys: their shape, their checksum, their hash."""

from hypothesis import given
from hypothesis import strategies as st

from farthing.api.key_format import KEY_LENGTH, key_id, mint, secret_hash

PEPPER = bytes(range(32))
ENTROPY = bytes(range(42))


def test_a_key_has_four_parts_and_one_length():
    minted = mint(ENTROPY, PEPPER)
    assert minted == mint(ENTROPY, PEPPER)
    assert minted.text.startswith("fk_000g40r40m30e209_")
    assert len(minted.text) == KEY_LENGTH
    assert minted.text.count("_") == 3


def test_the_id_is_found_in_a_presented_key():
    minted = mint(ENTROPY, PEPPER)
    assert key_id(minted.text) == minted.api_key_id


@given(st.binary(min_size=42, max_size=42))
def test_every_key_is_read_back_and_hashes_to_what_is_stored(entropy):
    minted = mint(entropy, PEPPER)
    assert key_id(minted.text) == minted.api_key_id
    assert secret_hash(minted.text, PEPPER) == minted.secret_hash
    assert minted.text not in repr(minted.secret_hash)


@given(
    st.integers(min_value=0, max_value=KEY_LENGTH - 1), st.sampled_from("0123456789abcdefghjkmnpqrstvwxyz_")
)
def test_a_mistyped_key_is_no_key(position, letter):
    text = mint(ENTROPY, PEPPER).text
    mistyped = text[:position] + letter + text[position + 1 :]
    assert (key_id(mistyped) is not None) == (mistyped == text)


@given(st.text(max_size=120))
def test_noise_is_no_key(text):
    assert key_id(text) is None


def test_another_pepper_gives_another_hash():
    text = mint(ENTROPY, PEPPER).text
    assert secret_hash(text, PEPPER) != secret_hash(text, bytes(32))
