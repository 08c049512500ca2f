// Makes every call of @iota/core that a node supports: iota-core.js PROVIDER LEDGER [CALL…]
const { composeAPI } = require('@iota/core')
const { run } = require('./run')

run((provider, ledger) => {
  const api = composeAPI({ provider })
  const { seed, security, tag, address, recipient, tail, bundle } = ledger
  const attached = Object.values(ledger.transactions)
  const payment = [{ address: recipient, value: 60, tag, message: 'PAYMENT' }]
  const promotion = [{ address: recipient, value: 0, tag, message: '' }]
  const copies = count => Array(count).fill(attached[0])
  return {
    getNodeInfo: () => api.getNodeInfo(),
    getTips: () => api.getTips(),
    getTransactionsToApprove: () => api.getTransactionsToApprove(3),
    'getTransactionsToApprove, too deep': () => api.getTransactionsToApprove(16),
    attachToTangle: () => api.attachToTangle(tail, tail, 14, attached),
    interruptAttachingToTangle: () => api.interruptAttachingToTangle(),
    broadcastTransactions: () => api.broadcastTransactions(attached),
    'broadcastTransactions, 100 of them': () => api.broadcastTransactions(copies(100)),
    'broadcastTransactions, too many': () => api.broadcastTransactions(copies(400)),
    storeTransactions: () => api.storeTransactions(attached),
    storeAndBroadcast: () => api.storeAndBroadcast(attached),
    'findTransactions, addresses': () => api.findTransactions({ addresses: [address] }),
    'findTransactions, bundles': () => api.findTransactions({ bundles: [bundle] }),
    'findTransactions, tags': () => api.findTransactions({ tags: [tag] }),
    'findTransactions, approvees': () => api.findTransactions({ approvees: [tail] }),
    'findTransactions, 2500 addresses': () => api.findTransactions({ addresses: Array(2500).fill(address) }),
    findTransactionObjects: () => api.findTransactionObjects({ addresses: [address] }),
    getTrytes: () => api.getTrytes([tail]),
    getTransactionObjects: () => api.getTransactionObjects([tail]),
    getBalances: () => api.getBalances([address, recipient], 100),
    getInclusionStates: () => api.getInclusionStates([tail], [tail]),
    getLatestInclusion: () => api.getLatestInclusion([tail]),
    checkConsistency: () => api.checkConsistency([tail]),
    wereAddressesSpentFrom: () => api.sendCommand({ command: 'wereAddressesSpentFrom', addresses: [address] }),
    getBundle: () => api.getBundle(tail),
    traverseBundle: () => api.traverseBundle(tail),
    broadcastBundle: () => api.broadcastBundle(tail),
    getBundlesFromAddresses: () => api.getBundlesFromAddresses([address], true),
    getNewAddress: () => api.getNewAddress(seed, { index: 1, security }),
    getInputs: () => api.getInputs(seed, { start: 0, end: 1, security }),
    getTransfers: () => api.getTransfers(seed, { start: 0, end: 1, inclusionStates: true, security }),
    getAccountData: () => api.getAccountData(seed, { security }),
    isPromotable: () => api.isPromotable(tail),
    isReattachable: () => api.isReattachable(address),
    prepareTransfers: async () => (await api.prepareTransfers(seed, payment, { security })).length,
    sendTrytes: () => api.sendTrytes(attached, 3, 14),
    promoteTransaction: async () => (await api.promoteTransaction(tail, 3, 14, promotion, { delay: 0 })).length,
    replayBundle: () => api.replayBundle(tail, 3, 14),
    getNeighbors: () => api.getNeighbors(),
    addNeighbors: () => api.addNeighbors(['udp://192.0.2.1:14600']),
    removeNeighbors: () => api.removeNeighbors(['udp://192.0.2.1:14600'])
  }
})
