// Prints what the fake nodes are told to have, and the wallets to ask for: a bundle of two transactions without value
// to the first address of a seed, and a balance of that address.
const { composeAPI, generateAddress } = require('@iota/core')
const { asTransactionObject } = require('@iota/transaction-converter')

const security = 1 // the quickest
const seed = 'WALLET9'.padEnd(81, 'A')
const tag = 'LOAD9BALANCER'.padEnd(27, '9')
const address = generateAddress(seed, 0, security)
const recipient = generateAddress('RECIPIENT9'.padEnd(81, 'A'), 0, security)

// chain attaches the transactions of a bundle as a node does, but for the proof of work: each approves the one after it.
function chain (bundle, tip) {
  const transactions = {}
  let trunk = tip
  for (const trytes of bundle) { // the last transaction comes first
    const attached = trytes.slice(0, 2430) + trunk + tip + tag + trytes.slice(2619, 2646) + 'NONCE'.padEnd(27, '9')
    trunk = asTransactionObject(attached).hash
    transactions[trunk] = attached
  }
  return { transactions, tail: trunk }
}

async function main () {
  const transfers = ['FIRST', 'SECOND'].map(message => ({ address, message, tag, value: 0 }))
  const bundle = await composeAPI().prepareTransfers(seed, transfers)
  const { transactions, tail } = chain(bundle, 'TIP'.padEnd(81, '9'))
  console.log(JSON.stringify({
    seed, security, tag, address, recipient, tail, transactions, balances: { [address]: '100' }, bundle: asTransactionObject(transactions[tail]).bundle
  }))
}

main()
