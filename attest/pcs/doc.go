// Package pcs gets the collateral that package attest judges quotes by: from Intel's
// Provisioning Certification Service (PCS, version 4 of its API), from a cache of it
// in the data center (PCCS), from Azure's (THIM), or from a file.
//
// A Client asks the service for the collateral of one family of platforms. It checks
// every byte before it hands anything on or keeps it: what is signed by a root that
// it trusts, valid, and of the family that was asked for. What it has is kept for as
// long as the service allows, in memory or in a directory.
//
// A Bundle is collateral in a file, for verifiers that have no network.
package pcs
