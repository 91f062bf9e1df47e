# SPDX-License-Identifier: Apache-2.0
"""What a person is told on the desktop, once an event: last try, blocked, expires soon, revoked, reader lost."""
