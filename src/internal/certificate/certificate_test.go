package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var now = time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// issue creates a self-signed certificate, valid from a day before to a day after now, moved by shift.
func issue(t *testing.T, key crypto.Signer, shift time.Duration) string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "lb.example.org"},
		NotBefore: now.Add(shift - 24*time.Hour), NotAfter: now.Add(shift + 24*time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return block("CERTIFICATE", der)
}

// withSHA1 creates a certificate that is signed with SHA-1.
func withSHA1(t *testing.T, subject, issuer string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: subject}, SignatureAlgorithm: x509.SHA1WithRSA,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}, key.Public(), key)
	require.NoError(t, err)
	return block("CERTIFICATE", der)
}

func TestSelfSignedRootsMayUseSHA1(t *testing.T) {
	key := ecKey(t)
	_, err := load(t, issue(t, key, 0)+withSHA1(t, "root", "root"), pkcs8(t, key))
	require.NoError(t, err)
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return block("PRIVATE KEY", der)
}

func sec1(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	return block("EC PRIVATE KEY", der)
}

// load writes both texts to files and reads them as a pair.
func load(t *testing.T, cert, key string) (Pair, error) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cert"), []byte(cert), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "key"), []byte(key), 0o600))
	return Load(filepath.Join(dir, "cert"), filepath.Join(dir, "key"), now)
}

func TestEveryKeyFormatIsSupported(t *testing.T) {
	ec := ecKey(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		signer crypto.Signer
		text   string
	}{
		"EC, PKCS #8": {ec, pkcs8(t, ec)},
		"EC, SEC 1":   {ec, sec1(t, ec)},
		"EC, preceded by its parameters (openssl ecparam)": {ec, block("EC PARAMETERS", []byte{6, 8}) + sec1(t, ec)},
		"RSA, PKCS #8": {rsaKey, pkcs8(t, rsaKey)},
		"RSA, PKCS #1": {rsaKey, block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))},
		"Ed25519":      {ed, pkcs8(t, ed)},
	} {
		t.Run(name, func(t *testing.T) {
			cert := issue(t, c.signer, 0)
			pair, err := load(t, cert, c.text)
			require.NoError(t, err)
			assert.Equal(t, big.NewInt(7), pair.Leaf().SerialNumber)
			assert.True(t, strings.HasPrefix(pair.PEM(), cert))
		})
	}
}

func TestThePairIsReencoded(t *testing.T) {
	key, other := ecKey(t), ecKey(t)
	leaf, next := issue(t, key, 0), issue(t, other, 0)
	noise := "\n\nBag Attributes\n  friendlyName: show info\n\n"
	pair, err := load(t, noise+leaf+noise+next+noise, noise+strings.ReplaceAll(pkcs8(t, key), "\n", "\r\n")+noise)
	require.NoError(t, err)
	assert.Equal(t, leaf+next+pkcs8(t, key), pair.PEM())

	again, err := load(t, pair.PEM(), pair.PEM())
	require.NoError(t, err, "one file for both")
	assert.Equal(t, pair.PEM(), again.PEM())
}

func TestFormattingAPairDoesNotRevealTheKey(t *testing.T) {
	key := ecKey(t)
	pair, err := load(t, issue(t, key, 0), pkcs8(t, key))
	require.NoError(t, err)
	for _, form := range []string{"%v", "%+v", "%#v", "%s"} {
		assert.Equal(t, "CN=lb.example.org", fmt.Sprintf(form, pair))
	}
}

func TestUnusablePairsAreRefusedWithTheReason(t *testing.T) {
	key, other := ecKey(t), ecKey(t)
	cert := issue(t, key, 0)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	encrypted := "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n"
	for name, c := range map[string]struct{ cert, key, file, want string }{
		"no certificate":          {"hello\n", pkcs8(t, key), "cert", "holds no certificate in PEM form"},
		"an empty file":           {"", pkcs8(t, key), "cert", "holds no certificate in PEM form"},
		"half a certificate":      {cert[:len(cert)/2], pkcs8(t, key), "cert", "holds no certificate in PEM form"},
		"an invalid certificate":  {block("CERTIFICATE", []byte("x")), pkcs8(t, key), "cert", "certificate number 1 in it: x509:"},
		"an invalid intermediate": {cert + block("CERTIFICATE", []byte("x")), pkcs8(t, key), "cert", "certificate number 2 in it: x509:"},
		"no key":                  {cert, cert, "key", "holds no private key in PEM form"},
		"an invalid key":          {cert, block("PRIVATE KEY", []byte("x")), "key", "asn1:"},
		"a different key":         {cert, pkcs8(t, other), "key", "does not belong to the first certificate in "},
		"a key of another type":   {cert, block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)), "key", "does not belong"},
		"an encrypted key":        {cert, block("ENCRYPTED PRIVATE KEY", []byte("x")), "key", "is encrypted"},
		"an encrypted key, SEC 1": {cert, encrypted, "key", "is encrypted"},
		"the leaf is not first":   {issue(t, other, 0) + cert, pkcs8(t, key), "key", "does not belong to the first certificate"},
		"expired":                 {issue(t, key, -25*time.Hour), pkcs8(t, key), "cert", "has expired at 2030-06-01T11:00:00Z; the time now is 2030-06-01T12:00:00Z"},
		"not valid yet":           {issue(t, key, 25*time.Hour), pkcs8(t, key), "cert", "is not valid before 2030-06-01T13:00:00Z"},
		"too small":               {issue(t, small, 0), pkcs8(t, small), "cert", "certificate number 1 in it: its RSA key has 1024 bits; HAProxy requires at least 2048"},
		"too small in the chain":  {cert + issue(t, small, 0), pkcs8(t, key), "cert", "certificate number 2 in it: its RSA key has 1024 bits"},
		"SHA-1":                   {withSHA1(t, "lb.example.org", "CA"), pkcs8(t, key), "cert", "certificate number 1 in it: it is signed with SHA1-RSA"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, c.cert, c.key)
			require.ErrorContains(t, err, c.want)
			assert.Regexp(t, `^(certificate|key) /.*/`+c.file+`: `, err.Error())
		})
	}
}

func TestAMissingFileIsNamedOnlyOnce(t *testing.T) {
	_, err := Load("/nowhere/cert.pem", "/nowhere/key.pem", now)
	require.EqualError(t, err, "certificate /nowhere/cert.pem: no such file or directory")
}
