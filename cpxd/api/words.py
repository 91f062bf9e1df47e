# SPDX-License-Identifier: Apache-2.0
"""The words of the page "Ma carte", in both languages. A test holds the page to them: none missing, none left over."""

from __future__ import annotations

from cpxd.text import Text
from cpxd.usages import DATE, SERVICES, SOURCE

WORDS: dict[str, Text] = {
    "title": Text("Ma carte", "My card"),
    "skip": Text("Aller au contenu", "Skip to content"),
    "language": Text("Langue", "Language"),
    "reader": Text("Lecteur", "Reader"),
    "loading": Text("Lecture de la carte…", "Reading the card…"),
    "ended": Text(
        "Cette page n'est plus reliée au service. Fermez-la, puis : cpxd status --web",
        "This page is no longer connected to the service. Close it, then: cpxd status --web",
    ),
    "used": Text("Ce lien a déjà servi", "This link was used already"),
    "used_what": Text(
        "Un lien n'ouvre la page qu'une fois, et pendant deux minutes. Pour un nouveau lien, tapez dans un terminal :",
        "A link opens the page once, within two minutes. For a new link, type in a terminal:",
    ),
    # the holder
    "holder": Text("Titulaire", "Holder"),
    "professional_name": Text("Nom d'exercice", "Professional name"),
    "identifier": Text("Identifiant", "Identifier"),
    "profession": Text("Profession", "Profession"),
    "specialty": Text("Spécialité", "Specialty"),
    "card": Text("Carte", "Card"),
    "card_number": Text("Numéro", "Number"),
    "test_card": Text("carte de TEST", "TEST card"),
    "anonymous": Text("carte sans nom", "card without a name"),
    # validity
    "validity": Text("Validité", "Validity"),
    "until": Text("Jusqu'au", "Until"),
    "days_many": Text("{n} jours restants", "{n} days left"),
    "days_one": Text("1 jour restant", "1 day left"),
    "days_none": Text("dernier jour", "last day"),
    "valid": Text("valide", "valid"),
    "expires_soon": Text("expire bientôt", "expires soon"),
    "expired": Text("expirée", "expired"),
    "not_yet_valid": Text("pas encore valide", "not valid yet"),
    "unknown": Text("inconnu", "unknown"),
    "revocation": Text("Opposition", "Revocation"),
    "good": Text("non, selon la liste valable jusqu'au {date}", "no, by the list that holds until {date}"),
    "revoked": Text("OUI, depuis le {date} : {why}", "YES, since {date}: {why}"),
    "not_known": Text("inconnu : {why}", "unknown: {why}"),
    # codes
    "codes": Text("Codes", "Codes"),
    "pin": Text("Code porteur", "PIN"),
    "unblock_code": Text("Code de déblocage", "Unblock code"),
    "tries": Text("{n} essais sur {most}", "{n} tries of {most}"),
    "try": Text("1 essai sur {most}", "1 try of {most}"),
    "tries_left": Text("{n} essais restants", "{n} tries left"),
    "try_left": Text("1 essai restant", "1 try left"),
    "blocked": Text("bloqué", "blocked"),
    "last_try": Text("Dernier essai : un code faux bloque la carte.", "Last try: a wrong PIN blocks the card."),
    "blocked_hint": Text(
        "La carte n'est pas perdue : débloquez-la avec le code à 8 chiffres du courrier.",
        "The card is not lost: unblock it with the code of 8 digits from the letter.",
    ),
    "lost_hint": Text(
        "Rien ne peut plus la débloquer : il faut une nouvelle carte.", "Nothing can unblock it any more: a new card is needed."
    ),
    "never_here": Text(
        "Aucun code ne se tape dans cette page : une fenêtre du poste le demande.",
        "No code is ever typed into this page: a window of the workstation asks for it.",
    ),
    "change": Text("Changer le code porteur", "Change the PIN"),
    "unblock": Text("Débloquer la carte", "Unblock the card"),
    "answer_dialog": Text("Répondez dans la fenêtre qui s'est ouverte.", "Answer in the window that has opened."),
    "changed": Text("Code porteur changé.", "The PIN is changed."),
    "unblocked": Text("Carte débloquée.", "The card is unblocked."),
    # situations
    "situations": Text("Situations d'exercice", "Practice situations"),
    "situations_hidden": Text("La carte ne les donne qu'avec le code porteur.", "The card gives them with the PIN only."),
    "situations_none": Text("La carte n'en a aucune.", "The card has none."),
    "situations_read": Text("Situations lues.", "The situations were read."),
    "read_situations": Text("Lire mes situations", "Read my situations"),
    "not_decoded": Text("contenu non décodé", "content not decoded"),
    # usages
    "usages": Text("Usages de la carte", "Uses of the card"),
    "usages_none": Text("Le guide n'a pas de fiche pour cette carte.", "The guide has no sheet for this card."),
    "service": Text("Service", "Service"),
    "right": Text("Selon le guide", "By the guide"),
    "possible": Text("fiche possible : {why}", "possible sheet: {why}"),
    "yes": Text("oui", "yes"),
    "no": Text("non", "no"),
    "conditional": Text("sous condition", "conditional"),
    "not_mentioned": Text("pas dans le guide", "not in the guide"),
    "which_sheet": Text(
        "Vos situations disent quelle fiche est la vôtre : lisez-les ci-dessus.",
        "Your situations tell which sheet is yours: read them above.",
    ),
    "lost_mark": Text(
        "Inconnu : la marque du guide est perdue ; ce n'est ni un oui ni un non.",
        "Unknown: the mark of the guide is lost; neither a yes nor a no.",
    ),
    "source": Text(
        f"Source : {SOURCE} ({DATE.fr}). Chaque service décide lui-même des droits.",
        f"Source: {SOURCE} ({DATE.en}). Each service decides of the rights itself.",
    ),
    # the doctor
    "doctor": Text("Diagnostic", "Diagnosis"),
    "examining": Text("Examen en cours…", "Examining…"),
    "all_well": Text("Tout va bien : carte et poste sont prêts.", "All is well: card and workstation are ready."),
    "deal_with": Text("Traitez d'abord {code}.", "Deal with {code} first."),
    "again": Text("Refaire le diagnostic", "Examine again"),
    "examined": Text("Diagnostic refait.", "Examined again."),
    "fix": Text("Remède :", "Remedy:"),
    "error": Text("Erreur", "Error"),
    "warning": Text("Avertissement", "Warning"),
    "info": Text("Information", "Information"),
    "no_try_spent": Text("Aucun essai de code n'est consommé.", "No try of a code is spent."),
    # events
    "events": Text("Derniers événements", "Last events"),
    "events_none": Text("Aucun pour l'instant.", "None yet."),
    "event_serve_start": Text("Service démarré", "Service started"),
    "event_serve_end": Text("Service arrêté", "Service ended"),
    "event_card-read": Text("Carte lue", "Card read"),
    "event_card-not-read": Text("Carte illisible", "Card not read"),
    "event_login-ended": Text("Connexion à la carte terminée", "Login to the card ended"),
    "event_lock": Text("Écran verrouillé", "Screen locked"),
    "event_error": Text("Erreur", "Error"),
    "event_told": Text("Notification", "Notification"),
    **{f"service_{name}": text for name, text in SERVICES.items()},
}
