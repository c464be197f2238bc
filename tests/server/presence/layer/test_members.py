"""Who is on a channel, over processes with a channel layer between them."""

from __future__ import annotations

from tests.waiting import until

from .lossy import lose, lose_nothing
from .processes import MakeProcess, until_told


async def test_members_of_both_processes_are_told_at_both(make: MakeProcess) -> None:
    here, there = make(), make()
    pages = [await here.watch(), await there.watch()]
    anna = here.come("anna", {"name": "Anna"})
    bob = there.come("bob")
    other = there.come(None)
    for page in pages:
        await until_told(page, "anna", "bob", others=1)
        assert page.infos == {"anna": {"name": "Anna"}, "bob": None}
    here.leave(anna)
    there.leave(bob, other)
    for page in pages:
        await until_told(page)
        joins = [key for each in page.diffs for key in each["joins"]]
        leaves = [key for each in page.diffs for key in each["leaves"]]
        assert sorted(joins) == sorted(leaves) == ["anna", "bob"]
    assert here.signals.sent[:2] in (["anna", "bob"], ["bob", "anna"])
    assert sorted(here.signals.sent[2:]) == ["-anna", "-bob"]
    assert there.signals.sent == []


async def test_a_user_at_both_processes_is_one_member(make: MakeProcess) -> None:
    here, there = make(), make()
    page = await here.watch()
    one, other = here.come("anna"), there.come("anna")
    visits = [each.come(None, session="s") for each in (here, there)]
    await until_told(page, "anna", others=1)
    await there.until_here("anna", others=1)
    here.leave(one, visits[0])
    brief = here.come("brief")
    await until_told(page, "anna", "brief", others=1)
    here.leave(brief)  # It leaves after the others would have.
    await until_told(page, "anna", others=1)
    there.leave(other, visits[1])
    await until_told(page)
    assert here.signals.sent == ["anna", "brief", "-brief", "-anna"]
    assert sum(len(each["joins"]) for each in page.diffs) == 2, page.diffs


async def test_a_process_that_starts_learns_who_is_there(make: MakeProcess) -> None:
    here = make()
    page = await here.watch()
    here.come("anna")
    await until_told(page, "anna")
    told = len(page.diffs)
    late = make()
    assert await late.members() == {"anna": None}
    late_page = await late.watch()
    assert set(late_page.members) == {"anna"}
    late.come("bob")
    await until_told(page, "anna", "bob")
    await until_told(late_page, "anna", "bob")
    assert len(page.diffs) == told + 1
    assert here.signals.sent == ["anna", "bob"]
    assert late.signals.sent == []


async def test_members_of_a_killed_process_leave_once(make: MakeProcess) -> None:
    here, there = make(), make()
    page = await there.watch()
    here.come("anna")
    here.come("bob")
    here.come(None)
    there.come("bob")
    await until_told(page, "anna", "bob", others=1)
    here.kill()
    await until_told(page, "bob")
    assert [list(each["leaves"]) for each in page.diffs if each["leaves"]] == [["anna"]]
    await until(lambda: there.signals.sent == ["-anna"])


async def test_the_newest_info_is_told_once(make: MakeProcess) -> None:
    here, there = make(), make()
    pages = [await here.watch(), await there.watch()]
    here.come("anna", {"n": 1})
    for page in pages:
        await until_told(page, "anna")
    there.come("anna", {"n": 2})
    here.come("bob")
    for page, process in zip(pages, (here, there), strict=True):
        await until_told(page, "anna", "bob")
        await until(lambda page=page: page.infos["anna"] == {"n": 2})
        await process.until_here("anna", "bob")
        assert await process.members() == {"anna": {"n": 2}, "bob": None}
        told = [each["joins"]["anna"] for each in page.diffs if "anna" in each["joins"]]
        assert told == [{"info": {"n": 1}}, {"info": {"n": 2}}]
    late = make()
    assert await late.members() == {"anna": {"n": 2}, "bob": None}


async def test_of_many_members_only_numbers_are_told(make: MakeProcess) -> None:
    here, there = make(limit=10), make(limit=10)
    page = await there.watch()
    visits = [(here, there)[number % 2].come(f"user{number}") for number in range(12)]
    await until(lambda: page.count == 12)
    assert (await there.watch()).count == 12
    assert len(await here.members()) == 12
    for number, visit in enumerate(visits[:6]):
        (here, there)[number % 2].leave(visit)
    rest = [f"user{number}" for number in range(6, 12)]
    await until_told(page, *rest)
    assert page.count is None
    assert set((await here.watch()).members) == set(rest)


async def test_a_state_has_what_was_told_before_it_was_learned(
    make: MakeProcess,
) -> None:
    """A page that watches then is told nothing of it."""
    here, there = make(), make()
    page = await here.watch()
    await there.members()
    anna = here.come("anna")
    await there.until_here("anna")
    await until_told(page, "anna")
    lose(1, "presence.changes", "presence.beat")
    bob = here.come("bob")
    here.come(None)
    here.leave(anna)
    await until_told(page, "bob", others=1)
    assert await there.members() == {"anna": None}
    late_page = await there.watch()
    await until_told(late_page, "bob", others=1)
    assert not late_page.diffs
    lose_nothing()
    await there.until_here("bob", others=1)
    here.leave(bob)
    for each in (page, late_page):
        await until_told(each, others=1)
