"""What a request asks for when its filters are widened."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.routing.contract import RouteFilters, RouteRequest, TrustName

names = st.lists(st.sampled_from(["one", "two", "three"]), max_size=2)
filters = st.builds(
    RouteFilters,
    catalogues=names,
    licences=names,
    languages=names,
    tags=names,
    trust_floor=st.sampled_from(TrustName),
)


@given(filters)
def test_a_widened_request_sees_no_other_catalogue_and_sends_nothing(held: RouteFilters) -> None:
    wider = RouteRequest(task="merge", filters=held, include="body").widened()
    if wider is None:
        assert held == RouteFilters(catalogues=held.catalogues)
    else:
        assert wider.filters == RouteFilters(catalogues=held.catalogues)
        assert (wider.include, wider.task) == ("none", "merge")
        assert wider.widened() is None
