from cryptography import x509

from ganger_dev.pki import Authority


def test_the_authority_says_that_it_may_sign(tmp_path):
    """Strict verifiers refuse an authority without this."""
    certificate = x509.load_pem_x509_certificate(Authority.load(tmp_path).own.certificate.read_bytes())
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)

    assert usage.critical
    assert usage.value.key_cert_sign


def test_a_server_certificate_names_its_addresses_and_is_signed_by_the_authority(tmp_path):
    authority = Authority.load(tmp_path)
    pair = authority.issue("server", user="server", groups=("a", "b"), hosts=("127.0.0.1", "kubernetes.default.svc"))
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.own.certificate.read_bytes()))
    assert ["kubernetes.default.svc"] == names.get_values_for_type(x509.DNSName)
    assert ["127.0.0.1"] == [str(address) for address in names.get_values_for_type(x509.IPAddress)]


def test_keys_are_readable_by_their_owner_alone(tmp_path):
    authority = Authority.load(tmp_path)
    keys = [authority.own.key, authority.issue("user", user="user").key, authority.service_account_keys().key]

    assert {0o600} == {key.stat().st_mode & 0o777 for key in keys}


def test_an_authority_is_made_once(tmp_path):
    first = Authority.load(tmp_path).own.certificate.read_bytes()

    assert first == Authority.load(tmp_path).own.certificate.read_bytes()
