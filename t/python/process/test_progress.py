"""owt.progress(): what it takes, and what it says of anything else."""

import pytest
from fake_owt import Call


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("1, 2, 'on it'", '{"done": 1, "total": 2, "text": "on it"}'),
        ("0.5", '{"done": 0.5, "total": null, "text": ""}'),
        ("float('nan'), float('inf')", '{"done": null, "total": null, "text": ""}'),
        ("'3'", '{"done": 3.0, "total": null, "text": ""}'),
        ("10**300, -(10**400)", f'{{"done": {10**300}, "total": null, "text": ""}}'),
        ("10**5000", '{"done": null, "total": null, "text": ""}'),
        ("__import__('fractions').Fraction(10**400, 3)", '{"done": null, "total": null, "text": ""}'),
    ],
)
def test_numbers(call, arguments, told):
    made = Call(f"import owt\ndef run(): owt.progress({arguments})")
    made.events = True
    assert call(made=made).progresses == [told]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("'x'", "ValueError"),
        ("1, 'x'", "ValueError"),
        ("[1]", "TypeError"),
        ("1, {}", "TypeError"),
        ("type('Odd', (), {'__float__': lambda _: b'\\xff'.decode()})()", "ValueError"),
    ],
)
def test_what_is_no_number_is_told(call, arguments, error):
    done = call(f"import owt\ndef run(): owt.progress({arguments})")
    assert done.status == 500
    assert f"{error}: owt.progress(done, total=None, text='') wants numbers, and " in done.text
    assert "During handling" not in done.text
