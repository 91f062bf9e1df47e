# SPDX-License-Identifier: Apache-2.0
"""A stand-in for GALSS and a serial SESAM-Vitale terminal: libraries with its public functions, and behind them virtual cards."""
