# SPDX-License-Identifier: Apache-2.0
"""Every error a person or a program can meet: what happened, whose fault, what to do, with a stable code.

This is the only table: the exit code of the command line, the sentence in two languages and, later, the HTTP status and the
CK_RV are all taken from here. A sentence is one line and never holds a PIN, a name or an identifier.
"""

from __future__ import annotations

from cpxd.errors_codes import (
    BadPinFormat,
    CodeBeingTyped,
    CodeUncertain,
    KnownWrongPin,
    LastTry,
    NoPinSource,
    PadCancelled,
    PadRefused,
    PadTimeout,
    PadUnable,
    PinBlocked,
    PinBlockedForGood,
    PinsDiffer,
    Refused,
    SamePin,
    UnblockCodeBlocked,
    UnblockInterrupted,
    WrongPin,
    WrongUnblockCode,
)
from cpxd.failure import CpxError, Exit, Fault
from cpxd.text import Text

# --- workstation and reader -----------------------------------------------------------------------------------------


class NoService(CpxError):
    code, exit, fault = "CPX-101", Exit.NO_SERVICE, Fault.WORKSTATION
    what = Text(
        "Le service de cartes (pcscd) ne répond pas. Démarrez-le : sudo systemctl enable --now pcscd.socket",
        "The smart card service (pcscd) does not answer. Start it: sudo systemctl enable --now pcscd.socket",
    )


class SilentService(NoService):
    """It takes the connection, and never answers."""

    what = Text(
        "Le service de cartes (pcscd) ne répond plus. Redémarrez-le : sudo systemctl restart pcscd",
        "The smart card service (pcscd) has stopped answering. Restart it: sudo systemctl restart pcscd",
    )


class GalssTrouble(NoService):
    """GALSS or its terminal refused a call. Details: `code` (hexadecimal, "terminal xx" or "?"), `operation`."""

    code, exit, fault, retry = "CPX-149", Exit.NO_SERVICE, Fault.READER, True
    what = Text(
        "Le GALSS ou son terminal SESAM-Vitale ne répond pas (code {code}, {operation}). Rebranchez le terminal, relancez GALSS,"
        " ou passez le terminal en mode PC/SC.",
        "GALSS or its SESAM-Vitale terminal does not answer (code {code}, {operation}). Connect the terminal again and restart"
        " GALSS, or switch the terminal to PC/SC mode.",
    )


class NoReader(CpxError):
    code, exit, fault = "CPX-102", Exit.NO_READER, Fault.READER
    what = Text(
        "Aucun lecteur de cartes n'est branché. Branchez-en un, puis recommencez.",
        "No card reader is connected. Connect one, then try again.",
    )


class UnknownReader(CpxError):
    code, exit, fault = "CPX-117", Exit.NO_READER, Fault.PERSON
    what = Text(
        "Aucun lecteur ne s'appelle « {reader} ». La liste : cpxd readers",
        "No reader is called “{reader}”. The list: cpxd readers",
    )


class ReaderBusy(CpxError):
    """Details: `seconds`; `reader`, where it is known."""

    code, exit, fault, retry = "CPX-118", Exit.CARD_LOST, Fault.WORKSTATION, True
    what = Text(
        "Un autre logiciel occupe la carte depuis {seconds} s. Fermez-le, ou attendez qu'il ait fini.",
        "Another program has been holding the card for {seconds} s. Close it, or wait until it is done.",
    )


class NoCard(CpxError):
    code, exit, fault = "CPX-103", Exit.NO_CARD, Fault.PERSON
    what = Text(
        "Il n'y a pas de carte dans le lecteur. Insérez-la, puce vers l'avant et vers le haut.",
        "There is no card in the reader. Insert it, chip forward and facing up.",
    )


class SeveralCards(CpxError):
    code, exit, fault = "CPX-119", Exit.USAGE, Fault.PERSON
    what = Text(
        "Plusieurs cartes sont insérées. Choisissez avec --reader : {readers}",
        "Several cards are inserted. Choose with --reader: {readers}",
    )


class AlreadyServing(CpxError):
    code, exit, fault = "CPX-143", Exit.BAD_INPUT, Fault.PERSON
    what = Text(
        "Le service cpxd tourne déjà pour cet utilisateur. Il n'en faut qu'un.",
        "The cpxd service already runs for this user. One is enough.",
    )


class NotServing(CpxError):
    code, exit, fault = "CPX-144", Exit.NO_SERVICE, Fault.WORKSTATION
    what = Text(
        "Le service cpxd ne tourne pas. Démarrez-le : cpxd serve",
        "The cpxd service does not run. Start it: cpxd serve",
    )


# --- the card -------------------------------------------------------------------------------------------------------


class UnsupportedCard(CpxError):
    code, exit, fault = "CPX-104", Exit.UNSUPPORTED_CARD, Fault.CARD
    what = Text(
        "Cette carte (ATR {atr}) n'est pas une carte CPx{hint}. Insérez votre carte de professionnel.",
        "This card (ATR {atr}) is no CPx card{hint}. Insert your professional card.",
    )


class RetiredCard(CpxError):
    code, exit, fault = "CPX-125", Exit.UNSUPPORTED_CARD, Fault.CARD
    what = Text(
        "Cette carte est une CPS2ter : elle n'est plus prise en charge, demandez une nouvelle carte.",
        "This card is a CPS2ter: it is no longer supported, ask for a new card.",
    )


class ContactlessCard(CpxError):
    code, exit, fault = "CPX-148", Exit.UNSUPPORTED_CARD, Fault.PERSON
    what = Text(
        "La carte est lue sans contact : elle n'y a ni code ni clé du titulaire. Insérez-la dans une fente à contact.",
        "The card is read without contact: on that side it has no code and no key of its holder. Insert it into a contact slot.",
    )


class CardMute(CpxError):
    code, exit, fault, retry = "CPX-105", Exit.CARD_LOST, Fault.CARD, True
    what = Text(
        "La carte ne répond pas. Retirez-la, nettoyez la puce, remettez-la dans le bon sens ; sinon essayez un autre lecteur.",
        "The card does not answer. Take it out, clean the chip, put it back the right way; else try another reader.",
    )


class CardRemoved(CpxError):
    code, exit, fault, retry = "CPX-126", Exit.CARD_LOST, Fault.PERSON, True
    what = Text(
        "La carte a été retirée pendant l'opération. Remettez-la, puis recommencez.",
        "The card was removed during the operation. Put it back, then try again.",
    )


class CardReset(CpxError):
    code, exit, fault, retry = "CPX-127", Exit.CARD_LOST, Fault.WORKSTATION, True
    what = Text(
        "Un autre logiciel a réinitialisé la carte pendant l'opération. Recommencez.",
        "Another program reset the card during the operation. Try again.",
    )


class CardChanged(CpxError):
    code, exit, fault, retry = "CPX-128", Exit.CARD_LOST, Fault.PERSON, True
    what = Text(
        "La carte a été remplacée par une autre pendant l'opération : rien n'a été fait avec la nouvelle. Recommencez.",
        "The card was swapped for another one during the operation: nothing was done with the new one. Try again.",
    )


class CardUpdated(CardChanged):
    code = "CPX-145"
    what = Text(
        "La carte a été mise à jour pendant l'opération : rien n'a été fait. Recommencez, elle sera relue.",
        "The card was updated during the operation: nothing was done. Try again: it will be read anew.",
    )


class UpdateInterrupted(CpxError):
    code, exit, fault = "CPX-146", Exit.UNSUPPORTED_CARD, Fault.CARD
    what = Text(
        "La mise à jour de cette carte a été interrompue : rien n'y est écrit, et ce qu'elle dit peut être incomplet. Refaites la"
        " mise à jour, ou demandez de l'aide à l'Agence du numérique en santé.",
        "The update of this card was interrupted: nothing is written on it, and what it says may be incomplete. Update it again,"
        " or ask the Agence du numérique en santé for help.",
    )


class CardRefused(CpxError):
    """The card answered with a status word that the operation does not expect. Details: `sw` (int), `operation`."""

    code, exit, fault = "CPX-129", Exit.CARD_LOST, Fault.CARD
    what = Text(
        "La carte a refusé l'opération « {operation} » (réponse {status}). Retirez-la et remettez-la ; si cela persiste,"
        " faites-la examiner.",
        "The card refused the operation “{operation}” (answer {status}). Take it out and put it back; if it persists,"
        " have it examined.",
    )

    def __init__(self, *, operation: str, sw: int) -> None:
        super().__init__(operation=operation, status=f"{sw:04X}")
        self.sw = sw


class DamagedCard(CpxError):
    code, exit, fault = "CPX-130", Exit.BAD_INPUT, Fault.CARD
    what = Text(
        "Les données de la carte sont illisibles ({part}). Rien n'a été modifié ; faites examiner la carte.",
        "The data of the card cannot be read ({part}). Nothing was changed; have the card examined.",
    )


class KeyUnavailable(CpxError):
    code, exit, fault = "CPX-131", Exit.UNSUPPORTED_CARD, Fault.CARD
    what = Text(
        "Cette carte n'a pas de clé utilisable pour cette opération ({usage}).",
        "This card has no key that can be used for this operation ({usage}).",
    )


class MechanismUnavailable(CpxError):
    code, exit, fault = "CPX-132", Exit.BAD_INPUT, Fault.CARD
    what = Text(
        "Cette carte ne sait pas calculer {mechanism} avec cette clé.",
        "This card cannot compute {mechanism} with this key.",
    )


class WrongSignature(CpxError):
    code, exit, fault = "CPX-133", Exit.VERIFICATION_FAILED, Fault.CARD
    what = Text(
        "La signature rendue par la carte est fausse : elle n'a pas été remise. Retirez la carte et recommencez.",
        "The signature that the card gave is wrong: it was not handed out. Take the card out and try again.",
    )


# --- input ----------------------------------------------------------------------------------------------------------


class Usage(CpxError):
    code, exit, fault = "CPX-142", Exit.USAGE, Fault.PERSON
    what = Text("{detail} (aide : cpxd --help)", "{detail} (help: cpxd --help)")


class BadFile(CpxError):
    code, exit, fault = "CPX-140", Exit.BAD_INPUT, Fault.PERSON
    what = Text("Fichier « {file} » : {reason}.", "File “{file}”: {reason}.")


class BadConfig(CpxError):
    code, exit, fault = "CPX-141", Exit.BAD_INPUT, Fault.WORKSTATION
    what = Text("Configuration « {file} » : {reason}.", "Configuration “{file}”: {reason}.")


# --- signatures -----------------------------------------------------------------------------------------------------


class BadDocument(CpxError):
    code, exit, fault = "CPX-150", Exit.BAD_INPUT, Fault.PERSON
    what = Text(
        "Ce document ne peut pas être signé en {format} : {reason}. Rien n'a été écrit.",
        "This document cannot be signed as {format}: {reason}. Nothing was written.",
    )


class DocumentTooLarge(CpxError):
    code, exit, fault = "CPX-151", Exit.BAD_INPUT, Fault.PERSON
    what = Text(
        "Document trop gros pour le format {format} : {size} octets, au plus {limit}. Utilisez --format cms ou cades (détaché).",
        "Document too large for the format {format}: {size} bytes, at most {limit}. Use --format cms or cades (detached).",
    )


class StampFailed(CpxError):
    code, exit, fault, retry = "CPX-152", Exit.REMOTE, Fault.WORKSTATION, True
    what = Text(
        "L'horodatage n'a pas été obtenu ({reason}). Rien n'a été écrit ; vérifiez le réseau et l'adresse [sign] tsa.",
        "No time stamp was obtained ({reason}). Nothing was written; check the network and the address [sign] tsa.",
    )


class RevocationUnavailable(CpxError):
    code, exit, fault, retry = "CPX-153", Exit.REMOTE, Fault.WORKSTATION, True
    what = Text(
        "L'état de révocation n'a pas été obtenu ({reason}). Rien n'a été écrit ; vérifiez le réseau.",
        "The revocation state was not obtained ({reason}). Nothing was written; check the network.",
    )


class SignerNotValid(CpxError):
    code, exit, fault = "CPX-154", Exit.BAD_INPUT, Fault.CARD
    what = Text(
        "Le certificat de signature est valable du {start} au {end}, et il est {now} sur ce poste :"
        " carte expirée, ou horloge fausse. Rien n'a été écrit.",
        "The signing certificate is valid from {start} to {end}, and it is {now} on this workstation:"
        " expired card, or wrong clock. Nothing was written.",
    )


class SignerRevoked(CpxError):
    code, exit, fault = "CPX-155", Exit.BAD_INPUT, Fault.CARD
    what = Text(
        "Le certificat de signature est révoqué depuis le {since} (carte en opposition). Rien n'a été écrit.",
        "The signing certificate has been revoked since {since}. Nothing was written.",
    )


class WrongClock(CpxError):
    code, exit, fault = "CPX-156", Exit.BAD_INPUT, Fault.WORKSTATION
    what = Text(
        "L'horloge de ce poste ({now}) et celle de l'autorité d'horodatage ({stamped}) ne s'accordent pas."
        " Rien n'a été écrit ; mettez le poste à l'heure.",
        "The clock of this workstation ({now}) and that of the time-stamping authority ({stamped}) disagree."
        " Nothing was written; set the clock.",
    )


class HashRefused(CpxError):
    code, exit, fault = "CPX-157", Exit.REFUSED, Fault.PERSON
    what = Text(
        "« {origin} » demande de signer une empreinte, c'est-à-dire un contenu que personne ne peut lire : refusé."
        " Seul un administrateur peut l'autoriser ([sign] hash_origins, configuration du poste).",
        "“{origin}” asks to sign a hash, a content that nobody can read: refused."
        " Only an administrator can allow it ([sign] hash_origins, machine configuration).",
    )


class NoSignature(CpxError):
    code, exit, fault = "CPX-158", Exit.BAD_INPUT, Fault.PERSON
    what = Text("Aucune signature lisible dans « {file} » : {reason}.", "No readable signature in “{file}”: {reason}.")


class UntrustedSigner(CpxError):
    code, exit, fault = "CPX-159", Exit.BAD_INPUT, Fault.CARD
    what = Text(
        "Le certificat ne remonte à aucune autorité connue ({issuer}), or ce niveau de signature l'exige. Rien n'a été écrit.",
        "The certificate leads to no known authority ({issuer}), which this level of signature needs. Nothing was written.",
    )


class CannotDecrypt(CpxError):
    code, exit, fault = "CPX-192", Exit.BAD_INPUT, Fault.PERSON
    what = Text(
        "Ce message ne peut pas être déchiffré : {reason}. Rien n'a été écrit.",
        "This message cannot be decrypted: {reason}. Nothing was written.",
    )


class Internal(CpxError):
    """A defect of ours, or an answer of PC/SC that we do not know."""
