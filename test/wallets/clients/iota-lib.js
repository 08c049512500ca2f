// Makes every call of iota.lib.js that a node supports: iota-lib.js PROVIDER LEDGER [CALL…]
const { promisify } = require('util')
const IOTA = require('iota.lib.js')
const { run } = require('./run')

run((provider, ledger) => {
  const url = new URL(provider)
  const { username, password } = url
  url.username = url.password = ''
  const api = new IOTA({ provider: url.href, username, password }).api
  const call = (name, ...args) => promisify(api[name].bind(api))(...args)
  const { seed, security, tag, address, recipient, tail, bundle } = ledger
  const attached = Object.values(ledger.transactions)
  const payment = [{ address: recipient, value: 60, tag, message: 'PAYMENT' }]
  const copies = count => Array(count).fill(attached[0])
  return {
    getNodeInfo: () => call('getNodeInfo'),
    getTips: () => call('getTips'),
    getTransactionsToApprove: () => call('getTransactionsToApprove', 3),
    'getTransactionsToApprove, too deep': () => call('getTransactionsToApprove', 16),
    attachToTangle: () => call('attachToTangle', tail, tail, 14, attached),
    interruptAttachingToTangle: () => call('interruptAttachingToTangle'),
    broadcastTransactions: () => call('broadcastTransactions', attached),
    'broadcastTransactions, 100 of them': () => call('broadcastTransactions', copies(100)),
    'broadcastTransactions, too many': () => call('broadcastTransactions', copies(400)),
    storeTransactions: () => call('storeTransactions', attached),
    storeAndBroadcast: () => call('storeAndBroadcast', attached),
    'findTransactions, addresses': () => call('findTransactions', { addresses: [address] }),
    'findTransactions, bundles': () => call('findTransactions', { bundles: [bundle] }),
    'findTransactions, tags': () => call('findTransactions', { tags: [tag] }),
    'findTransactions, approvees': () => call('findTransactions', { approvees: [tail] }),
    'findTransactions, 2500 addresses': () => call('findTransactions', { addresses: Array(2500).fill(address) }),
    findTransactionObjects: () => call('findTransactionObjects', { addresses: [address] }),
    getTrytes: () => call('getTrytes', [tail]),
    getTransactionsObjects: () => call('getTransactionsObjects', [tail]),
    getBalances: () => call('getBalances', [address, recipient], 100),
    getInclusionStates: () => call('getInclusionStates', [tail], [tail]),
    getLatestInclusion: () => call('getLatestInclusion', [tail]),
    'isPromotable, by checkConsistency': () => api.isPromotable(tail),
    wereAddressesSpentFrom: () => call('wereAddressesSpentFrom', [address]),
    getBundle: () => call('getBundle', tail),
    broadcastBundle: () => call('broadcastBundle', tail),
    getNewAddress: () => call('getNewAddress', seed, { index: 1, security }),
    getInputs: () => call('getInputs', seed, { start: 0, end: 1, security }),
    getTransfers: () => call('getTransfers', seed, { start: 0, end: 1, inclusionStates: true, security }),
    getAccountData: () => call('getAccountData', seed, { security }),
    isReattachable: () => call('isReattachable', address),
    // It calls prepareTransfers.
    sendTransfer: async () => (await call('sendTransfer', seed, 3, 14, payment, { security })).map(t => t.address),
    sendTrytes: () => call('sendTrytes', attached, 3, 14),
    promoteTransaction: async () => (await call('promoteTransaction', tail, 3, 14, [{ address: recipient, value: 0 }], {})).length,
    replayBundle: () => call('replayBundle', tail, 3, 14),
    getNeighbors: () => call('getNeighbors'),
    addNeighbors: () => call('addNeighbors', ['udp://192.0.2.1:14600']),
    removeNeighbors: () => call('removeNeighbors', ['udp://192.0.2.1:14600'])
  }
})
