// What the programs in JavaScript share.
const fs = require('fs')

// run makes calls, one after the other, and prints what came of each as a line of JSON: all of them, or those whose
// names were given.
exports.run = async clientOf => {
  const [provider, ledgerFile, ...names] = process.argv.slice(2)
  const calls = clientOf(provider, JSON.parse(fs.readFileSync(ledgerFile)))
  for (const call of names.length ? names : Object.keys(calls)) {
    let outcome
    try {
      outcome = { call, ok: true, result: (await calls[call]()) ?? null }
    } catch (error) {
      // The error of fetch in Node.js has its reason inside.
      outcome = { call, ok: false, error: [error, error.cause].filter(Boolean).map(String).join(': ') }
    }
    process.stdout.write(JSON.stringify(outcome) + '\n')
  }
}
