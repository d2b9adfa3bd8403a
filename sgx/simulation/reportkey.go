package simulation

import (
	"encoding/binary"

	"github.com/confcom/confcom/sgx"
)

// keyDependencies is the size in bytes of the SDK's derivation_data_t for a report
// key, with the padding of a C compiler.
const keyDependencies = 192

// reportKey derives the report key of target, as DeriveReportKey of deriv.cpp does.
func (c CPU) reportKey(id sgx.KeyID, target sgx.TargetInfo) (sgx.MAC, error) {
	const keyNameReport = 3
	var d [keyDependencies]byte
	binary.LittleEndian.PutUint16(d[0:], keyNameReport)
	binary.LittleEndian.PutUint64(d[8:], uint64(target.Attributes.Flags))
	binary.LittleEndian.PutUint64(d[16:], uint64(target.Attributes.XFRM))
	binary.LittleEndian.PutUint32(d[24:], target.MiscSelect)
	copy(d[28:44], "THISISOWNEREPOCH")
	copy(d[44:76], target.MREnclave[:])
	copy(d[76:92], c.svn[:])
	binary.LittleEndian.PutUint16(d[92:], target.ConfigSVN)
	copy(d[94:158], target.ConfigID[:])
	copy(d[158:190], id[:])
	return cmac(reportBaseKey(), d[:])
}

// reportBaseKey returns the constant of rts_sim.h that takes the place of the
// processor's fused secret.
func reportBaseKey() sgx.MAC {
	return sgx.MAC{0xff, 0x00, 0xff, 0x00, 0xff, 0x00, 0xff, 0x00, 0xff, 0x00, 0xff, 0x00, 0xff, 0x00, 0xff, 0x00}
}
