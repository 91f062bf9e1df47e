# SPDX-License-Identifier: Apache-2.0
"""The codes that cards and certificates share, and the two tables certificates spell out: the "title" of a subject is the
label of the profession.

Source of the labels: NOS of ANS, TRE_G15-ProfessionSante and TRE_G16-ProfessionFormation (MIT).
"""

from __future__ import annotations

CARD_ISSUER = "8025000001"
CATEGORIES = {"test": 0x80, "real": 0x00}  # table G01
CARD_TYPES = {"CPS": 0, "CPF": 1, "CPE": 2, "CDE": 2, "CPA": 3, "CDA": 3}  # table G02

PROFESSIONS = {
    "10": "Médecin",
    "21": "Pharmacien",
    "26": "Audioprothésiste",
    "28": "Opticien-Lunetier",
    "31": "Assistant dentaire",
    "32": "Physicien médical",
    "35": "Aide-soignant",
    "36": "Ambulancier",
    "37": "Auxiliaire de puériculture",
    "38": "Préparateur en pharmacie hospitalière",
    "39": "Préparateur en pharmacie",
    "40": "Chirurgien-Dentiste",
    "50": "Sage-Femme",
    "60": "Infirmier",
    "69": "Infirmier psychiatrique",
    "70": "Masseur-Kinésithérapeute",
    "80": "Pédicure-Podologue",
    "81": "Orthoprothésiste",
    "82": "Podo-Orthésiste",
    "83": "Orthopédiste-Orthésiste",
    "84": "Oculariste",
    "85": "Epithésiste",
    "86": "Technicien de labo médical",
    "91": "Orthophoniste",
    "92": "Orthoptiste",
    "93": "Psychologue",
    "94": "Ergothérapeute",
    "95": "Diététicien",
    "96": "Psychomotricien",
    "98": "Manipulateur ERM",
}

FUTURE_PROFESSIONS = {
    "10": "Médecin en formation",
    "21": "Pharmacien en formation",
    "40": "Chirurgien-Dentiste en formation",
    "50": "Sage-Femme en formation",
}
