"""The TLS certificate of a new database server, and the authority that signs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

YEARS = 10  # that a certificate is valid
AUTHORITY = "hpo-job database"


def new_certificate(service: str, namespace: str) -> tuple[str, str, str]:
    """Create an authority, and a server's certificate that it has signed.

    The authority's key is thrown away, so nobody can sign another certificate with it.

    Args:
        service: the name of the server's Service.
        namespace: of the Service.

    Returns:
        The authority's certificate, the server's certificate and the server's key, as PEM.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.now(UTC)

    def common_name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(common_name(subject))
            .issuer_name(common_name(AUTHORITY))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=365 * YEARS))
        )

    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = (
        builder(AUTHORITY, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    hosts = [x509.DNSName(host) for host in (*_hosts(service, namespace), "localhost")]
    # 127.0.0.1 is its address at the near end of a port-forward
    names = x509.SubjectAlternativeName([*hosts, x509.IPAddress(ip_address("127.0.0.1"))])
    server = (
        builder(service, server_key)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = server_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return authority.public_bytes(pem).decode(), server.public_bytes(pem).decode(), key.decode()


def _hosts(service: str, namespace: str) -> list[str]:
    """The names of a Service inside the cluster."""
    inside = f"{service}.{namespace}"
    return [service, inside, f"{inside}.svc", f"{inside}.svc.cluster.local"]
