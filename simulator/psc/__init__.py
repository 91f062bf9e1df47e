# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Pro Santé Connect on the loopback, for those who write software that logs in with it. See docs/PSC-SANDBOX.md.

settings, arguments   what was asked for, and the scripted failures
admission, holder     which certificate may log in, and what it says of its holder
cardtls               the listener of the "Carte CPS" step: TLS that asks for the card's certificate
oidc, store           the OpenID Connect provider (Authlib) and what it remembers
provider, ecps, ciba  its pages and endpoints
relying               a client: the page that starts the flow and shows who logged in
sandbox               starts and stops the three listeners together
"""
