"""A site that cannot boot is told with its traceback; what runs goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Site, wait_until
from load import Load
from product import DIES, HANGS, ZCML, Product
from seen import pids, stored

PARTS = ("zope1", "zope2", "storage")


def set_start_timeout(site: Site, seconds: int) -> None:
    settings = site.home / "etc" / "zenwebserver.conf"
    settings.write_text(settings.read_text() + f"\nstartTimeout {seconds}\n")


def unset_start_timeout(site: Site) -> None:
    settings = site.home / "etc" / "zenwebserver.conf"
    settings.write_text(settings.read_text().replace("\nstartTimeout 3\n", "\n"))


def break_zope_conf(site: Site, _: Product) -> Callable[[], object]:
    path = site.home / "etc" / "zope.conf"
    former = path.read_text()
    path.write_text(former + "\nnonsense-key on\n")
    return lambda: path.write_text(former)


def break_zcml(_: Site, product: Product) -> Callable[[], object]:
    product.zcml.write_text(ZCML.format("<nonsense:directive />"))
    return product.mend


def break_syntax(_: Site, product: Product) -> Callable[[], object]:
    product.code.write_text("def broken(:\n")
    return product.mend


def miss_a_module(_: Site, product: Product) -> Callable[[], object]:
    product.code.write_text("import zws_is_not_there\n")
    return product.mend


def die_at_boot(_: Site, product: Product) -> Callable[[], object]:
    product.code.write_text(DIES)
    return product.mend


def hang_at_boot(site: Site, product: Product) -> Callable[[], object]:
    product.code.write_text(HANGS)
    set_start_timeout(site, 3)

    def mend() -> None:
        product.mend()
        unset_start_timeout(site)

    return mend


BREAKAGES = [
    (break_zope_conf, "nonsense-key"),
    (break_zcml, "Traceback"),
    (break_syntax, "SyntaxError"),
    (miss_a_module, "zws_is_not_there"),
    (die_at_boot, "the product gives up"),
    (hang_at_boot, "3 s"),
]


def test_the_start_of_a_broken_site_fails_with_its_traceback_and_works_when_it_is_mended(site: Site) -> None:
    product = Product(site.use("store"))
    for break_it, words in BREAKAGES:
        mend = break_it(site, product)
        failed = site.run("start")
        assert failed.code == 1, (break_it, failed)
        assert words in failed.err, (break_it, failed)
        assert "Its log: " in failed.err or break_it is break_zope_conf, (break_it, failed)
        assert "defect of zenwebserver" not in failed.err
        assert site.run("status").code == 1
        wait_until(lambda: not site.processes(), f"nothing runs after {break_it.__name__}")
        mend()
    site.ok("start")
    assert site.get("/who").status == 200


@pytest.mark.parametrize("target", ["servers", "server2"])
def test_a_restart_into_a_broken_site_changes_nothing_for_visitors(site: Site, target: str) -> None:
    product = Product(site.use("store"))
    site.ok("start")
    before = pids(site, *PARTS)
    with Load(site.port, clients=8) as load:
        load.wait_for(30)
        for break_it, words in BREAKAGES if target == "servers" else BREAKAGES[1:2]:
            mend = break_it(site, product)
            failed = site.run("restart", target)
            assert failed.code == 1, (break_it, failed)
            assert words in failed.err, (break_it, failed)
            assert "[FAIL]" in failed.out
            assert pids(site, *PARTS) == before
            assert site.run("status", "-v").out.count("[UP]") == 4
            mend()
            load.wait_for(30)
        site.ok("restart")
        load.wait_for(30)
    assert load.outcome.failures == []
    assert stored(site) == dict.fromkeys(load.outcome.stored, 1)


def test_a_server_revived_while_its_site_is_broken_comes_back_from_the_release_that_ran(site: Site) -> None:
    product = Product(site.use("store"))
    site.ok("start")
    mend = break_syntax(site, product)
    killed = site.kill("zope1")
    wait_until(lambda: site.run("status", "-v").out.count("[UP]") == 4, "server 1 is back")
    assert site.pid("zope1") != killed
    mend()
