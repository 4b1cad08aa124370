from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DataError
from pipeline.trouble import Kind, Over, Page, Trouble, decide_page

AT = datetime(2026, 3, 3, 5, tzinfo=UTC)
OPEN = Trouble(Kind.DATA_BAD, AT - timedelta(days=2))


@pytest.mark.parametrize(
    ("known", "kind", "news"),
    [
        (None, None, None),
        (None, Kind.PROMOTED, None),
        (None, Kind.DATA_BAD, Page(Trouble(Kind.DATA_BAD, AT))),
        (OPEN, Kind.DATA_BAD, None),
        (OPEN, Kind.FAILED, Page(Trouble(Kind.FAILED, AT))),
        (OPEN, None, Over(OPEN)),
        (OPEN, Kind.PROMOTED, Over(OPEN)),
    ],
)
def test_only_news_is_said(known, kind, news):
    assert decide_page(known, kind, AT) == news


def test_a_trouble_of_many_mornings_pages_once_and_ends_once():
    known, said = None, []
    for day, kind in enumerate([None, Kind.DATA_BAD, Kind.DATA_BAD, Kind.GATE_REJECTED, None, None]):
        news = decide_page(known, kind, AT + timedelta(days=day))
        known = known if news is None else news.trouble if isinstance(news, Page) else None
        said.append(news and (type(news).__name__, str(news.trouble.kind)))
    assert said == [None, ("Page", "data_bad"), None, ("Page", "gate_rejected"), ("Over", "gate_rejected"), None]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.is_trouble])
def test_a_trouble_survives_its_tag(kind):
    trouble = Trouble(kind, AT.astimezone(ZoneInfo("Asia/Tokyo")))
    assert Trouble.from_json(trouble.to_json()) == trouble
    assert "\n" not in trouble.to_json()


@pytest.mark.parametrize("text", ["", "data_bad", '{"kind":"tired","since":"2026-03-03T05:00:00Z"}',
                                  '{"kind":"data_bad","since":"2026-03-03T05:00:00"}'])  # fmt: skip
def test_a_tag_that_is_no_trouble_is_an_error_that_shows_it(text):
    with pytest.raises(DataError, match="expected such as") as raised:
        Trouble.from_json(text)
    assert repr(text) in str(raised.value)
