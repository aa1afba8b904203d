"""`SITE_PYTHON list_documents.py ZOPE_CONF`: the documents of /Plone, and those of its catalog, as JSON.

Each index is asked for each document; what it does not find, or finds besides, stands in "wrong".
"""

from __future__ import annotations

import json
import sys
from collections import Counter

import Zope2
from AccessControl.SecurityManagement import newSecurityManager
from AccessControl.users import system
from Testing.makerequest import makerequest
from zope.component.hooks import setSite
from zope.globalrequest import setRequest
from Zope2.Startup.run import configure_wsgi


def main(zope_conf: str) -> None:
    configure_wsgi(zope_conf)
    root = makerequest(Zope2.app())
    setRequest(root.REQUEST)
    newSecurityManager(None, system)
    site = root.Plone
    setSite(site)
    catalog = site.portal_catalog
    documents = {
        "/".join(document.getPhysicalPath()): document
        for folder in site.objectValues()
        if folder.portal_type == "Folder"
        for document in folder.objectValues()
    }
    found = catalog.unrestrictedSearchResults(portal_type="Document", path="/Plone/writers")
    wrong = []
    for path, document in documents.items():
        for index, value in (("UID", document.UID()), ("getId", document.getId()), ("Title", document.title)):
            paths = [brain.getPath() for brain in catalog.unrestrictedSearchResults(**{index: value})]
            if paths != [path]:
                wrong.append([index, value, paths])
    uids = catalog._catalog.uids
    if len(catalog._catalog) != len(uids) or {path: rid for rid, path in catalog._catalog.paths.items()} != dict(uids):
        wrong.append(["catalog", len(catalog._catalog), len(uids)])
    titles = Counter(document.title for document in documents.values())
    print(
        json.dumps(
            {
                "documents": titles,
                "paths": sorted(documents),
                "catalog": sorted(b.getPath() for b in found),
                "wrong": wrong,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
