"""A certificate authority of the operator's own, and the certificate that it serves with.

Elliptic curve P-256 throughout: the authority travels in an annotation of every pod and is under 700 bytes.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from cryptography import x509

AUTHORITY_DAYS = 3650
SERVING_DAYS = 365
RENEW_DAYS = 90  # before the end


class Material(Struct, frozen=True, kw_only=True):
    """PEM texts. authority_key is empty for material that somebody else provides. renew_after: when to make it anew."""

    certificate: str
    key: str
    authority: str
    authority_key: str = ""
    renew_after: datetime | None = None


def issue(names: tuple[str, ...], now: datetime, old: Material | None = None) -> Material:
    """Return a new serving certificate for the DNS names or IP addresses, by the old authority where there is one.

    Raises ValueError for an old authority whose key cannot be read.
    """
    # Imported here: a process that finds its certificate in the Secret does without 10 MiB of library.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def subject(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def private(key: ec.EllipticCurvePrivateKey) -> str:
        return key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def text(certificate: x509.Certificate) -> str:
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def usage(*, signs: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip

    since = now - timedelta(minutes=5)  # clocks of nodes differ
    if old is not None and old.authority_key:
        loaded = serialization.load_pem_private_key(old.authority_key.encode(), password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError("ca.key is not a key that Ganger made")
        authority_key = loaded
        authority = x509.load_pem_x509_certificate(old.authority.encode())
    else:
        authority_key = ec.generate_private_key(ec.SECP256R1())
        name = subject("ganger control channel")
        authority = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(authority_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject(names[0][:64]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(now + timedelta(days=SERVING_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return Material(
        certificate=text(certificate),
        key=private(key),
        authority=text(authority),
        authority_key=private(authority_key),
        renew_after=now + timedelta(days=SERVING_DAYS - RENEW_DAYS),
    )


def _general(name: str) -> "x509.GeneralName":
    from ipaddress import ip_address

    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
