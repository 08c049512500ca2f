# shellcheck shell=sh
# The certificate of this host, for ten years, and its key, in one file. Usage: check|make FILE AUTHORITY NAMES
# check: does it serve for the next three years, with this authority and these names?
set -eu
file=$2 authority=$3 names=$4
days=3650

check() {
  openssl verify -CAfile "$authority" "$file"
  openssl x509 -in "$file" -noout -checkend $((days * 24 * 3600 * 3 / 10))
  [ "$(openssl x509 -in "$file" -noout -ext subjectAltName | sed -n 's/IP Address:/IP:/g; s/ //g; $p')" = "$names" ]
  [ "$(openssl x509 -in "$file" -noout -pubkey)" = "$(openssl pkey -in "$file" -pubout)" ]
}

make() {
  umask 0077
  key=$(openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256)
  request=$(echo "$key" | openssl req -new -key /dev/stdin -subj '/O=iri-lb-haproxy' -config /dev/fd/3 3<<end
[req]
distinguished_name = req
end
  )
  {
    echo "$key"
    echo "$request" | openssl x509 -req -CA "$authority" -CAkey "$authority" -set_serial "0x$(openssl rand -hex 16)" -days "$days" -extfile /dev/fd/3 3<<end
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
authorityKeyIdentifier = keyid
subjectAltName = $names
end
  } >"$file.new"
  mv "$file.new" "$file"
}

"$1"
