"""Certificates for tests of TLS: for one name or address, signed by themselves"""

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address


def write_certificate(folder, name="127.0.0.1"):
    "Write cert.pem and key.pem for an IP address or a host name; return their paths"
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization as to
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ecg")])
    is_address = name.replace(".", "").isdigit()
    holder = x509.IPAddress(ip_address(name)) if is_address else x509.DNSName(name)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([holder]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(cert.public_bytes(to.Encoding.PEM))
    private = key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    return str(folder / "cert.pem"), str(folder / "key.pem")
