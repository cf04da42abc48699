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


def write_authority(folder, *names):
    "Write ca.pem of a private authority, and cert.pem and key.pem that it signed for names; return the paths"
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization as to
    from cryptography.hazmat.primitives.asymmetric import ec

    now, keys = datetime.now(timezone.utc), [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    common_name = x509.NameOID.COMMON_NAME
    subjects = [x509.Name([x509.NameAttribute(common_name, n)]) for n in ("Private CA", names[0])]
    public = [key.public_key() for key in keys]
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    signs = x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage)
    speaks = x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **usage)
    is_address = [name.replace(".", "").isdigit() or ":" in name for name in names]
    held = [x509.IPAddress(ip_address(n)) if a else x509.DNSName(n) for n, a in zip(names, is_address)]
    more = [
        [(x509.BasicConstraints(ca=True, path_length=0), True), (signs, True)],
        [(x509.BasicConstraints(ca=False, path_length=None), True), (speaks, True)]
        + [(x509.SubjectAlternativeName(held), False)],
    ]
    written = []
    for name, subject, key, extensions in zip(("ca.pem", "cert.pem"), subjects, public, more):
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subjects[0]).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(public[0])
        builder = builder.add_extension(authority, False)
        for extension, critical in extensions: builder = builder.add_extension(extension, critical)
        (folder / name).write_bytes(builder.sign(keys[0], hashes.SHA256()).public_bytes(to.Encoding.PEM))
        written.append(str(folder / name))
    private = keys[1].private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    return *written, str(folder / "key.pem")
