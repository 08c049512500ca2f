# shellcheck shell=sh
# Prints the key and the certificate of a new authority. The certificate outlives the installation: only its hosts
# trust it.
set -e
key=$(openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256)
echo "$key"
echo "$key" | openssl req -x509 -new -key /dev/stdin -days 36500 -subj '/O=iri-lb-haproxy/CN=authority' -config /dev/fd/3 3<<end
[req]
distinguished_name = req
x509_extensions = authority
[authority]
basicConstraints = critical, CA:true, pathlen:0
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
end
