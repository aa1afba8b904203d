"""What is generated is read back by Zope's and ZEO's own schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ZEO.runzeo import ZEOOptions
from Zope2.Startup.options import ZopeWSGIOptions

from zenwebserver.errors import ZenwebserverError
from zenwebserver.site import zope_conf
from zenwebserver.site.zope_conf import ZopeConf

SOCKET = Path("/run/storage.sock")

# As plone.recipe.zope2instance writes it, with what else occurs.
PLONE = """\
%define INSTANCEHOME {home}
instancehome $INSTANCEHOME
%define CLIENTHOME {home}/var/instance
clienthome $CLIENTHOME
debug-mode off
pid-filename {home}/var/instance.pid
%include common.conf

<environment>
    CHAMELEON_CACHE ${{INSTANCEHOME}}/var/cache
</environment>
<ZODB_DB main>
    # Main database
    cache-size 30000
    <BlobStorage>
      blob-dir $instancehome/var/blobs
      # the data
      <filestorage>
        path $INSTANCEHOME/var/Data.fs
        pack-gc off
      </FileStorage>
    </BlobStorage>
    mount-point /
</ZODB_DB>
<zodb_db catalog>
    <filestorage catalog_data>
      path var/Catalog.fs
      blob-dir ~/blobs
      read-only on
    </filestorage>
    mount-point /plone/catalog:/catalog
    container-class Products.CMFCore.Folder
    pool-size 3
</zodb_db>
<zodb_db shared>
    <zeoclient>
      server localhost:8100
      storage 1
      client zeo1
      var {home}/var
    </zeoclient>
    mount-point /shared
</zodb_db>
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ZopeConf:
    home = tmp_path / "s"
    for folder in (home / "var/instance", tmp_path / "c1"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    (home / "common.conf").write_text(
        "%define zone eu\nhttp-realm Site $zone\n<product-config x>\n  a 5$$\n</product-config>\n"
    )
    return read(home, PLONE)


def read(home: Path, text: str) -> ZopeConf:
    path = home / "zope.conf"
    path.write_text(text.format(home=home))
    return zope_conf.read(path)


def small(tmp_path: Path, storage: str, before: str = "") -> ZopeConf:
    (tmp_path / "c1").mkdir(exist_ok=True)
    return read(tmp_path, f"{before}instancehome {{home}}\n<zodb_db main>\nmount-point /\n{storage}\n</zodb_db>\n")


def server(conf: ZopeConf, folder: Path, *, debug: bool = False) -> Any:
    """server_conf as Zope reads it, from another folder than the site's."""
    path = folder / "generated.conf"
    path.write_text(conf.server_conf(client_home=folder / "c1", name="zope1", storage_socket=SOCKET, debug=debug))
    return ZopeWSGIOptions(str(path))().configroot


def database(root: Any, name: str) -> Any:
    return root.dbtab.getDatabaseFactory(name=name).config


def storages(conf: ZopeConf, folder: Path) -> dict[str, Any]:
    """storage_conf as runzeo reads it: its storages by name."""
    path = folder / "storage.conf"
    path.write_text(conf.storage_conf(socket=SOCKET))
    options = ZEOOptions()
    options.realize(["-C", str(path)])
    assert options.address == str(SOCKET)
    return {storage.name: storage.config for storage in options.storages}


def test_every_file_storage_is_found_in_whatever_stands_around_it(site: ZopeConf) -> None:
    home = site.instance_home
    assert [storage.name for storage in site.shared_storages] == ["main", "catalog"]
    assert site.data_files == (home / "var/Data.fs", home / "var/Catalog.fs")
    assert [storage.blob_dir for storage in site.shared_storages] == [home / "var/blobs", home / "blobs"]


def test_zope_reads_a_server_s_configuration_with_clients_in_place_of_storages(site: ZopeConf, tmp_path: Path) -> None:
    root = server(site, tmp_path)
    main = database(root, "main").storage.config
    assert [address.address for address in main.server] == [str(SOCKET)]
    assert (main.storage, main.client_label) == ("main", "zope1")
    assert (main.blob_dir, main.shared_blob_dir) == (str(site.instance_home / "var/blobs"), True)
    assert main.server_sync
    assert not main.read_only
    assert database(root, "catalog").storage.config.read_only


def test_what_else_the_site_says_stays(site: ZopeConf, tmp_path: Path) -> None:
    root = server(site, tmp_path)
    home = site.instance_home
    assert root.instancehome == str(home)
    assert root.http_realm == "Site eu"
    assert root.product_config["x"] == {"a": "5$"}
    assert root.environment["CHAMELEON_CACHE"] == str(home / "var/cache")
    assert database(root, "main").cache_size == 30000
    assert database(root, "catalog").pool_size == 3
    assert database(root, "catalog").container_class == "Products.CMFCore.Folder"
    assert root.dbtab.mount_paths == {"/": "main", "/plone/catalog": "catalog", "/shared": "shared"}
    assert database(root, "shared").storage.config.server[0].address == ("localhost", 8100)


def test_a_server_has_its_own_client_home_and_pid_file(site: ZopeConf, tmp_path: Path) -> None:
    root = server(site, tmp_path)
    assert root.clienthome == str(tmp_path / "c1")
    assert root.pid_filename == str(tmp_path / "c1/Z4.pid")
    assert not root.debug_mode


def test_a_lock_file_is_named_only_where_the_site_names_one(site: ZopeConf, tmp_path: Path) -> None:
    conf = small(tmp_path, "<filestorage>\npath x.fs\n</filestorage>", "lock-filename /x/Z4.lock\n")
    ours = conf.server_conf(client_home=Path("/c"), name="zope1", storage_socket=SOCKET)
    assert "lock-filename /c/Z4.lock\n" in ours
    assert "/x/Z4.lock" not in ours
    assert "lock-filename" not in site.server_conf(client_home=Path("/c"), name="zope1", storage_socket=SOCKET)


def test_a_debug_server_has_debug_mode(site: ZopeConf, tmp_path: Path) -> None:
    assert server(site, tmp_path, debug=True).debug_mode


def test_the_cache_file_of_a_client_that_the_site_has_is_given_up_since_one_process_would_lock_it(
    site: ZopeConf, tmp_path: Path
) -> None:
    assert database(server(site, tmp_path), "shared").storage.config.client is None


def test_the_text_says_that_it_is_generated_and_from_what(site: ZopeConf) -> None:
    for text in (
        site.server_conf(client_home=Path("/c"), name="zope1", storage_socket=SOCKET),
        site.storage_conf(socket=SOCKET),
    ):
        assert text.splitlines()[0].startswith(f"# Generated by zenwebserver from {site.path}")


def test_runzeo_reads_the_storages_under_the_names_that_the_clients_use(site: ZopeConf, tmp_path: Path) -> None:
    served = storages(site, tmp_path)
    assert list(served) == ["main", "catalog"]
    assert served["main"].blob_dir == str(site.instance_home / "var/blobs")
    assert served["main"].base.config.path == str(site.instance_home / "var/Data.fs")
    assert served["main"].base.config.pack_gc is False
    assert served["catalog"].path == str(site.instance_home / "var/Catalog.fs")
    assert served["catalog"].read_only


def test_the_site_s_own_file_is_not_changed(site: ZopeConf, tmp_path: Path) -> None:
    before = site.path.read_bytes()
    server(site, tmp_path)
    storages(site, tmp_path)
    assert site.path.read_bytes() == before


@pytest.mark.parametrize("storage", ["zeoclient", "clientstorage", "relstorage"])
def test_a_site_whose_storage_is_shared_already_needs_no_storage_process(tmp_path: Path, storage: str) -> None:
    conf = small(tmp_path, f"<{storage}>\nserver db:1\n</{storage}>")
    assert conf.shared_storages == ()
    assert conf.data_files == ()
    text = conf.server_conf(client_home=Path("/c"), name="zope1", storage_socket=SOCKET)
    assert f"<{storage}>\nserver db:1\n</{storage}>" in text
    assert "%import" not in text


def test_databases_in_the_memory_of_each_server_are_named(tmp_path: Path) -> None:
    conf = small(tmp_path, "<temporarystorage>\nname t\n</temporarystorage>")
    assert conf.separate_databases == ("main",)
    assert conf.shared_storages == ()


def test_a_storage_in_memory_alone_is_served_so_that_servers_agree(tmp_path: Path) -> None:
    conf = small(tmp_path, "<mappingstorage/>")
    assert list(storages(conf, tmp_path)) == ["main"]
    assert database(server(conf, tmp_path), "main").storage.config.storage == "main"
    assert conf.data_files == ()


def test_a_demo_storage_is_served_whole_and_its_blobs_come_through_zeo(tmp_path: Path) -> None:
    conf = small(
        tmp_path,
        "<demostorage>\n<filestorage base>\npath base.fs\nread-only on\nblob-dir b\n</filestorage>\n"
        "<filestorage changes>\npath changes.fs\n</filestorage>\n</demostorage>",
    )
    served = storages(conf, tmp_path)["main"]
    assert [factory.name for factory in served.factories] == ["base", "changes"]
    assert conf.data_files == (tmp_path / "base.fs", tmp_path / "changes.fs")
    client = database(server(conf, tmp_path), "main").storage.config
    assert (client.blob_dir, client.shared_blob_dir) == (str(tmp_path / "c1/blobs"), False)
    assert not client.read_only


def test_a_storage_without_blobs_has_a_client_without_blobs(tmp_path: Path) -> None:
    conf = small(tmp_path, "<filestorage>\npath x.fs\n</filestorage>")
    assert database(server(conf, tmp_path), "main").storage.config.blob_dir is None


def test_compression_goes_to_the_storage_process_with_its_import(tmp_path: Path) -> None:
    conf = small(
        tmp_path,
        "<zlibstorage>\n<filestorage>\npath x.fs\nblob-dir b\n</filestorage>\n</zlibstorage>",
        "%import zc.zlibstorage\n",
    )
    text = conf.storage_conf(socket=SOCKET)
    assert "%import zc.zlibstorage\n" in text
    assert f"<zlibstorage main>\n  <filestorage>\n    path {tmp_path}/x.fs\n" in text
    assert conf.shared_storages[0].blob_dir == tmp_path / "b"
    assert "zlibstorage>" not in conf.server_conf(client_home=Path("/c"), name="zope1", storage_socket=SOCKET)


def test_imports_that_the_storages_do_not_need_are_kept_from_runzeo(tmp_path: Path) -> None:
    conf = small(tmp_path, "<filestorage>\npath x.fs\n</filestorage>", "%import some.product\n")
    assert "%import" not in conf.storage_conf(socket=SOCKET)
    assert "%import some.product\n" in conf.server_conf(client_home=Path("/c"), name="zope1", storage_socket=SOCKET)


def test_a_storage_may_come_from_an_included_file(tmp_path: Path) -> None:
    (tmp_path / "store.conf").write_text("<filestorage>\n  path $place/x.fs\n</filestorage>\n")
    conf = small(tmp_path, "%include store.conf", "%define PLACE /data\n")
    assert conf.data_files == (Path("/data/x.fs"),)
    assert "path $place" not in conf.server_conf(client_home=Path("/c"), name="zope1", storage_socket=SOCKET)


def test_a_dollar_in_a_path_comes_through(tmp_path: Path) -> None:
    odd = tmp_path / "a$b c"
    (odd / "c1").mkdir(parents=True)
    conf = read(
        odd,
        f"instancehome {str(odd).replace('$', '$$')}\n<zodb_db main>\nmount-point /\n"
        "<filestorage>\npath x.fs\n</filestorage>\n</zodb_db>\n",
    )
    assert storages(conf, tmp_path)["main"].path == str(odd / "x.fs")
    assert server(conf, odd).clienthome == str(odd / "c1")


def test_a_file_without_instancehome_is_told(tmp_path: Path) -> None:
    with pytest.raises(ZenwebserverError, match="names no instancehome"):
        read(tmp_path, "debug-mode on\n")


def test_a_name_that_is_not_defined_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ZenwebserverError, match=r"zope.conf, line 5: \$DATA is not defined"):
        small(tmp_path, "<filestorage>\npath $DATA/x.fs\n</filestorage>")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ZenwebserverError, match=r"gone.conf cannot be read"):
        zope_conf.read(tmp_path / "gone.conf")


def test_the_home_is_where_the_file_stands_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZENHOME", "/srv/another")
    home = tmp_path / "h$1 b"
    (home / "etc").mkdir(parents=True)
    path = home / "etc" / "zope.conf"
    path.write_text(
        "# not $(ZENHOME)\n%define HERE $(ZENHOME)\ninstancehome $HERE\ndefault-zpublisher-encoding $(CODE)\n"
        "<zodb_db main>\nmount-point /\n<filestorage>\npath $(ZENHOME)/x.fs\n</filestorage>\n</zodb_db>\n"
    )
    monkeypatch.setenv("CODE", "utf-8")
    conf = zope_conf.read(path)
    assert conf.instance_home == home
    assert conf.data_files == (home / "x.fs",)
    (tmp_path / "c1").mkdir()
    root = server(conf, tmp_path)  # read in an environment that names another home
    assert root.instancehome == str(home)
    text = conf.server_conf(client_home=Path("/c"), name="zope1", storage_socket=SOCKET)
    assert "# not $(ZENHOME)\n" in text
    assert "$(CODE)\n" in text, "what is of the environment stays so"


def test_what_is_relative_begins_in_the_home(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc" / "zope.conf"
    path.write_text("instancehome .\n<zodb_db main>\n<filestorage>\npath var/x.fs\n</filestorage>\n</zodb_db>\n")
    assert zope_conf.read(path).data_files == (tmp_path / "var" / "x.fs",)
