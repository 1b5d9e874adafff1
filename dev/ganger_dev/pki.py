"""A certificate authority for one cluster: it lives and dies with the cluster's folder and signs nothing else."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = timedelta(days=365)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A certificate and its private key, as files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, kw_only=True)
class Authority:
    """The cluster's authority; `folder` holds everything that it signed."""

    folder: Path

    @classmethod
    def load(cls, folder: Path) -> Authority:
        """Return the authority of `folder`, made when it is not there yet."""
        authority = cls(folder=folder)
        if not authority.own.certificate.exists():
            folder.mkdir(parents=True, exist_ok=True)
            authority._make()
        return authority

    @property
    def own(self) -> Pair:
        """Return the authority's own certificate and key."""
        return Pair(certificate=self.folder / "ca.crt", key=self.folder / "ca.key")

    def issue(self, name: str, *, user: str, groups: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> Pair:
        """Return a pair for `user`, valid for client and server use; an earlier one of that name is kept.

        groups: Kubernetes groups (the certificate's organisations). hosts: names and addresses of a server.
        """
        pair = Pair(certificate=self.folder / f"{name}.crt", key=self.folder / f"{name}.key")
        if pair.certificate.exists():
            return pair
        authority = x509.load_pem_x509_certificate(self.own.certificate.read_bytes())
        signer = serialization.load_pem_private_key(self.own.key.read_bytes(), password=None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
        subject += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        builder = _dated(x509.Name(subject), authority.subject).public_key(key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(uses, critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        _write_key(pair.key, key)
        pair.certificate.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return pair

    def service_account_keys(self) -> Pair:
        """Return the key pair that signs and checks service-account tokens (`certificate` is the bare public key)."""
        pair = Pair(certificate=self.folder / "sa.pub", key=self.folder / "sa.key")
        if not pair.certificate.exists():
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            _write_key(pair.key, key)
            public = key.public_key()
            pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            pair.certificate.write_bytes(public.public_bytes(pem, form))
        return pair

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ganger-dev-ca")])
        builder = _dated(name, name).public_key(key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        # Strict verifiers (Python 3.13 and later) refuse an authority whose certificate does not say that it may sign.
        usage = {
            "digital_signature": False, "content_commitment": False, "key_encipherment": False,
            "data_encipherment": False, "key_agreement": False, "crl_sign": True,
            "encipher_only": False, "decipher_only": False,
        }  # fmt: skip
        builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, **usage), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        _write_key(self.own.key, key)
        certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.own.certificate.write_bytes(certificate)


def _dated(subject: x509.Name, issuer: x509.Name) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    # An hour of slack: containers and virtual machines wake up with clocks that are behind.
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + _LIFETIME)


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
