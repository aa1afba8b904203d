"""`SITE_PYTHON make_plone.py ZOPE_CONF`: makes a Plone site, /Plone, in the database of a home where nothing runs."""

from __future__ import annotations

import sys

import transaction
import Zope2
from AccessControl.SecurityManagement import newSecurityManager
from Testing.makerequest import makerequest
from zope.globalrequest import setRequest
from Zope2.Startup.run import configure_wsgi

TITLE = "A site under load"


def main(zope_conf: str) -> None:
    configure_wsgi(zope_conf)
    root = makerequest(Zope2.app())
    setRequest(root.REQUEST)
    users = root.acl_users
    newSecurityManager(None, users.getUsers()[0].__of__(users))

    from Products.CMFPlone.factory import addPloneSite

    site = addPloneSite(root, "Plone", title=TITLE, distribution_name="classic")
    site.portal_setup.runAllImportStepsFromProfile("profile-plone.restapi:default")
    transaction.commit()
    root._p_jar.close()
    Zope2.DB.close()


if __name__ == "__main__":
    main(sys.argv[1])
