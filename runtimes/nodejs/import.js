'use strict';

// Loads an ES module. It stands in a file of its own because Node.js 6 to 12 cannot
// parse it.
module.exports = (url) => import(url);
